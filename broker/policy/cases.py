"""Do the policies decide as their authors meant? Tests in `policies/tests/*.yaml`, judged by the engine.

agents:                              # made up, for the tests of this file
carla: {roles: [clerk], team: red}
planner: {roles: [planner]}
tests:
- name: a clerk pays small sums
as: carla                        # or roles, as `{roles: [clerk]}`
delegated_by: [planner]          # nearest first
tool: bank__pay                  # or `resource`, `template`, `prompt`
labels: [money]                  # in place of what is known of it
arguments: {amount: 12}
taint: [untrusted-source]
expect: needs_approval           # allow, deny, needs_approval; hidden: it does not even exist for it
rules: [sums-above-ten]          # exactly these decided
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import orjson
import yaml

from broker.declared import read_arguments
from broker.documents import Node, did_you_mean, read_yaml
from broker.model import Agent, Attestation, Json, Kind, Origin, SideEffect, Situation, Target
from broker.policy.engine import PolicyEngine
from broker.policy.interface import Decision
from broker.policy.load import files_of
from broker.policy.question import (
    HeldClock,
    Question,
    Verdict,
    chain_of,
    hypothetical,
    params_of,
    verdict_on,
)

FOLDER = "tests"
MOST_TRUST = 1000
_LARGEST = 2**53
_KINDS = {str(kind): kind for kind in Kind}
_WHO = ("roles", "team", "organisation", "attestation", "model", "owner")
_FACTS = ("labels", "side_effect", "price_micro_usd", "risk", "min_trust", "declares")
_MOMENT = ("taint", "provenance", "counters", "trust", "approved", "hour", "task")
_KEYS = ("name", "as", "delegated_by", *_KINDS, *_FACTS, "arguments", *_MOMENT, "expect", "rules")

TargetOf = Callable[[Kind, str], Target]
"""What is known of a target: from a catalogue, else as it would be if something offered it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test. `rules` are the ids that have to have decided; None: any."""

    name: str
    place: str
    question: Question
    expect: Verdict
    rules: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Result:
    """How a test went."""

    case: Case
    verdict: Verdict
    decision: Decision

    @property
    def rules(self) -> list[str]:
        """The ids of the rules that decided."""
        return [because.rule for because in self.decision.because]

    @property
    def passed(self) -> bool:
        """Whether the verdict and the rules are the expected ones. What is hidden is denied as well."""
        case = self.case
        as_meant = self.verdict is case.expect or (
            self.verdict is Verdict.HIDDEN and case.expect is Verdict.DENY
        )
        return as_meant and (case.rules is None or case.rules == frozenset(self.rules))


def run_cases(folder: Path, cases: Sequence[Case]) -> list[Result]:
    """Judge tests by the policies in a folder, each with its own target as all that exists.

    Raises:
        ConfigurationError: the folder holds a mistake.
    """
    clock = HeldClock()
    engine = PolicyEngine(folder, clock=clock.now)
    results: list[Result] = []
    for case in cases:
        clock.hour = case.question.hour
        engine.retarget([case.question.target])
        results.append(Result(case, *verdict_on(engine, case.question)))
    return results


def load_cases(folder: Path, target_of: TargetOf) -> list[Case]:
    """The tests of a policies folder, in order of file and line.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    return [
        case
        for path, name in files_of(folder, FOLDER, ".yaml")
        for case in _file(read_yaml(path, name), target_of)
    ]


def _file(root: Node, target_of: TargetOf) -> Iterator[Case]:
    fields = root.mapping(("agents", "tests"), required=("tests",))
    people = {
        key.text(): _agent(value, key.text())
        for key, value in (fields["agents"].pairs() if "agents" in fields else [])
    }
    for node in fields["tests"].items():
        yield _case(node, people, target_of)


def _case(node: Node, people: Mapping[str, Agent], target_of: TargetOf) -> Case:
    fields = node.mapping(_KEYS, required=("name", "as", "expect"))
    actors = [_who(fields["as"], people)]
    actors += [_who(item, people) for item in _items(fields, "delegated_by")]
    target = _target(node, fields, target_of)
    arguments = _json(fields["arguments"]) if "arguments" in fields else {}
    question = Question(
        principal=chain_of(actors, fields["task"].text() if "task" in fields else None),
        target=target,
        params=params_of(target, arguments),
        situation=_situation(fields),
        hour=fields["hour"].integer(0, 23) if "hour" in fields else 12,
    )
    expect = Verdict(fields["expect"].one_of(list(Verdict)))
    rules = frozenset(item.text() for item in fields["rules"].items()) if "rules" in fields else None
    return Case(fields["name"].text(), node.place, question, expect, rules)


def _who(node: Node, people: Mapping[str, Agent]) -> Agent:
    if not isinstance(node.yaml, yaml.ScalarNode):
        return _agent(node, "tester")
    name = node.text()
    if name not in people:
        hint = did_you_mean(name, people) or "make it up under `agents`, or write `{roles: [...]}`"
        raise node.error(f"there is no agent `{name}` in this file", hint)
    return people[name]


def _agent(node: Node, name: str) -> Agent:
    fields = node.mapping(_WHO)
    level = fields["attestation"].one_of(list(Attestation)) if "attestation" in fields else "A1"
    agent = hypothetical(
        name,
        frozenset(item.text() for item in _items(fields, "roles")),
        team=fields["team"].text() if "team" in fields else None,
        organisation=fields["organisation"].text() if "organisation" in fields else "test",
        attestation=Attestation(level),
    )
    told = {key: fields[key].text() for key in ("model", "owner") if key in fields}
    return replace(agent, model=told.get("model"), owner=told.get("owner"))


def _target(node: Node, fields: Mapping[str, Node], target_of: TargetOf) -> Target:
    named = [key for key in _KINDS if key in fields]
    if len(named) != 1:
        problem = f"names both `{named[0]}` and `{named[1]}`" if named else "calls nothing"
        raise node.error(problem, "name one `tool`, `resource`, `template` or `prompt`")
    target = target_of(_KINDS[named[0]], fields[named[0]].text())
    changes: dict[str, Any] = {}
    if "labels" in fields:
        changes["labels"] = frozenset(item.text() for item in fields["labels"].items())
    if "side_effect" in fields:
        changes["side_effect"] = SideEffect(fields["side_effect"].one_of(list(SideEffect)))
    if "price_micro_usd" in fields:
        changes["price"] = _whole(fields["price_micro_usd"])
    if "declares" in fields:
        changes["arguments"] = tuple(read_arguments(fields["declares"], {}))
    if "risk" in fields:
        changes["risk"] = fields["risk"].integer(0, 10)
    if "min_trust" in fields:
        changes["min_trust"] = fields["min_trust"].integer(0, MOST_TRUST)
    return replace(target, **changes)


def _situation(fields: Mapping[str, Node]) -> Situation:
    calm = Situation()
    return Situation(
        taint=frozenset(item.text() for item in _items(fields, "taint")),
        provenance={k.text(): Origin(v.one_of(list(Origin))) for k, v in _pairs(fields, "provenance")},
        counters={k.text(): _whole(v) for k, v in _pairs(fields, "counters")},
        trust=fields["trust"].integer(0, MOST_TRUST) if "trust" in fields else calm.trust,
        approved=frozenset(item.text() for item in _items(fields, "approved")),
    )


def _items(fields: Mapping[str, Node], key: str) -> list[Node]:
    return fields[key].items() if key in fields else []


def _pairs(fields: Mapping[str, Node], key: str) -> list[tuple[Node, Node]]:
    return fields[key].pairs() if key in fields else []


def _whole(node: Node) -> int:
    return node.integer(0, _LARGEST)


def _json(node: Node) -> Json:
    """Arguments as an agent would send them: what YAML and JSON both know."""
    loader = yaml.SafeLoader("")
    try:
        value = cast("object", loader.construct_object(node.yaml, deep=True))  # pyright: ignore[reportUnknownMemberType] - no stubs
        orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise node.error("holds a value that JSON does not know", "put a text in quotes") from error
    finally:
        loader.dispose()  # pyright: ignore[reportUnknownMemberType]
    node.pairs()
    return cast("Json", value)
