"""What is one rule? An entry of a role or a policy of a Cedar file, as Cedar and with its terms.

The names of targets never become policy text: a role permits members of a `Selection`, and what its
patterns match is attached to the targets as data. So no upstream can write policy by naming a tool.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cedarpy

from broker.documents import did_you_mean
from broker.errors import Because, ConfigurationError
from broker.policy import cedar, static
from broker.policy.interface import Obligations
from broker.policy.load import Statement
from broker.policy.roles import ROLE_NAME, Allowance
from broker.policy.static import Path, Uid
from broker.policy.terms import read_max_cost, read_paths

_RULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,99}")
_ANNOTATIONS = ("id", "reason", "approval", "mode", "max_cost_usd", "redact", "watermark")
_TERMS = frozenset({"max_cost_usd", "redact", "watermark"})
_QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in force, or in its shadow.

    `cedar` is the whole rule as Cedar evaluates it and `parsed` its JSON form. `reads` are the attributes
    of the context that it looks at. `approver` is the role whose holders can agree to what it would
    refuse; with `asks` a human has to agree before it permits anything. A `shadow` rule never decides.
    """

    id: str
    permits: bool
    cedar: str
    parsed: Mapping[str, Any]
    place: str
    because: Because
    mentions: frozenset[Uid]
    reads: frozenset[Path]
    approver: str | None = None
    asks: bool = False
    shadow: bool = False
    obligations: Obligations = Obligations()  # noqa: RUF009 - frozen
    allowance: Allowance | None = None

    @property
    def reason(self) -> str:
        """Why it is there: what its author says, else what it allows; without the place."""
        return self.because.text.removeprefix(self.place).strip()


def of_allowance(allowance: Allowance) -> Rule:
    """An entry of a role as a permit. A condition is not asked when targets are listed."""
    # ids and roles are made of letters, digits and `_.-/`: they need no escaping
    conditions = [allowance.condition.cedar] if allowance.condition else []
    if allowance.asks:
        conditions.append(_agreed(allowance.id))
    when = f'\nwhen {{ action == Action::"list" || ({" && ".join(conditions)}) }}' if conditions else ""
    text = (
        f'@id("{allowance.id}")\npermit (\n  principal in Role::"{allowance.role}",\n'
        f'  action in [Action::"call", Action::"list"],\n'
        f'  resource in Selection::"{allowance.id}"\n){when};'
    )
    parsed = _policies(text)[0]
    return Rule(
        id=allowance.id,
        permits=True,
        cedar=text,
        parsed=parsed,
        place=allowance.place,
        because=Because(allowance.id, allowance.text),
        mentions=frozenset(),
        reads=frozenset(static.reads(parsed["conditions"])),
        approver=allowance.approver,
        asks=allowance.asks,
        obligations=allowance.obligations,
        allowance=allowance,
    )


def of_statement(statement: Statement, schema: cedarpy.Schema) -> Rule:
    """A policy of a Cedar file, validated against the schema.

    Raises:
        ConfigurationError: it is no policy that can be put in force; with file and line.
    """
    written = _only(statement)
    marks = cast("Mapping[str, str | None]", written.get("annotations", {}))
    rule_id, reason = _name(statement, marks)
    permits, approver = written["effect"] == "permit", marks.get("approval")
    text = statement.text
    if approver is not None:
        text = _with_approval(statement, written, rule_id, approver)
    problem = cedar.misfit(text, schema)
    if problem:
        raise _at_word(statement, problem)
    parsed = _policies(text)[0]
    return Rule(
        id=rule_id,
        permits=permits,
        cedar=text,
        parsed=parsed,
        place=statement.place,
        because=Because(rule_id, f"{statement.place} {reason}"),
        mentions=frozenset(static.mentions(parsed)),
        reads=frozenset(static.reads(parsed["conditions"])),
        approver=approver,
        asks=permits and approver is not None,
        shadow=_is_shadow(statement, marks),
        obligations=_terms(statement, marks, permits=permits),
    )


def refuse_repeated_ids(rules: Collection[Rule]) -> None:
    """Every rule has an id of its own.

    Raises:
        ConfigurationError: two have the same.
    """
    places: dict[str, str] = {}
    for rule in rules:
        if rule.id in places:
            raise ConfigurationError(
                f"{rule.place}: the id `{rule.id}` is taken by {places[rule.id]}",
                hint="decisions are explained by id: give each rule its own",
            )
        places[rule.id] = rule.place


def _agreed(rule_id: str) -> str:
    return f'context.approved.contains("{rule_id}")'


def _policies(text: str) -> list[dict[str, Any]]:
    """Policies as JSON, in order.

    Raises:
        ValueError: it is not Cedar, or a template.
    """
    found = json.loads(cedarpy.policies_to_json_str(text))
    if found["templates"]:
        raise ValueError("templates (`?principal`, `?resource`) are not used here")
    return list(found["staticPolicies"].values())


def _only(statement: Statement) -> dict[str, Any]:
    try:
        policies = _policies(statement.text)
    except ValueError as error:
        message = str(error)
        if message.startswith("templates"):
            raise _mistake(statement, message) from error
        raise _mistake(statement, f"not Cedar: {message}", "a policy ends with `;`") from error
    if len(policies) != 1:
        raise _mistake(statement, "not Cedar: no policy", "a policy ends with `;`")
    return policies[0]


def _name(statement: Statement, marks: Mapping[str, str | None]) -> tuple[str, str]:
    """Id and reason."""
    for mark in marks:
        if mark not in _ANNOTATIONS:
            known = ", ".join(f"`@{name}`" for name in _ANNOTATIONS)
            raise _mistake(
                statement, f"unknown annotation `@{mark}`", did_you_mean(mark, _ANNOTATIONS) or known
            )
    rule_id, reason = marks.get("id"), marks.get("reason")
    if not rule_id or not reason:
        raise _mistake(
            statement,
            f"the rule has no {'@reason' if rule_id else '@id'}",
            'begin it with `@id("name") @reason("why, in words an agent can use")`',
        )
    if not _RULE_NAME.fullmatch(rule_id):
        raise _mistake(statement, f"`{rule_id}` is not an id", "letters, digits, `_`, `.`, `-` and `/`")
    return rule_id, " ".join(reason.split())


def _with_approval(statement: Statement, written: Mapping[str, Any], rule_id: str, approver: str) -> str:
    """The rule as it holds: a forbid unless a human has agreed, a permit only when one has."""
    if not ROLE_NAME.fullmatch(approver):
        raise _mistake(statement, f"`{approver}` is not a role", '`@approval("role")` says who may agree')
    body = statement.text.rstrip().removesuffix(";").rstrip()
    if written["effect"] == "permit":
        return f'{body}\nwhen {{ action == Action::"list" || {_agreed(rule_id)} }};'
    if written["action"] != {"op": "==", "entity": {"type": "Action", "id": "call"}}:
        raise _mistake(
            statement,
            "a human agrees to calls, not to lists",
            'with @approval write `action == Action::"call"`',
        )
    return f"{body}\nunless {{ {_agreed(rule_id)} }};"


def _is_shadow(statement: Statement, marks: Mapping[str, str | None]) -> bool:
    mode = marks.get("mode", "enforce")
    if mode not in ("enforce", "shadow"):
        raise _mistake(statement, f"`{mode}` is not a mode", '`@mode("shadow")`, or leave it out')
    return mode == "shadow"


def _terms(statement: Statement, marks: Mapping[str, str | None], *, permits: bool) -> Obligations:
    given = sorted(_TERMS & marks.keys())
    if given and not permits:
        raise _mistake(statement, f"`@{given[0]}` is a term of a permit", "a forbid has no terms")

    def mistake(message: str, hint: str) -> ConfigurationError:
        return _mistake(statement, message, hint)

    cost, redact = marks.get("max_cost_usd"), marks.get("redact")
    return Obligations(
        max_cost=None if cost is None else read_max_cost(cost, mistake),
        redact=frozenset() if redact is None else read_paths(redact, mistake),
        watermark="watermark" in marks,
    )


def _at_word(statement: Statement, problem: str) -> ConfigurationError:
    """A mistake in the line of the word that it is about."""
    message = problem.removeprefix("for policy `policy0`, ")
    at = next((i for word in _QUOTED.findall(message) if (i := statement.text.find(word)) >= 0), 0)
    file, _, line = statement.place.rpartition(":")
    place = f"{file}:{int(line) + statement.text.count(chr(10), 0, at)}"
    hint = "policies/schema.cedarschema says what rules can speak about"
    if 'Action::"list"' in message:
        hint = 'what a call is like is not known when targets are listed: write `action == Action::"call"`'
    return ConfigurationError(f"{place}: {message}", hint=hint)


def _mistake(statement: Statement, message: str, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(f"{statement.place}: {message}", hint=hint)
