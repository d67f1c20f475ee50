"""What do the sources mean? One validated Cedar policy set, and what each of its rules is called.

The names of targets never become policy text: a role permits members of a `Selection`, and what its
patterns match is attached to the targets as data. So no upstream can write policy by naming a tool,
and the set does not change when the catalogue does.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cedarpy

from broker.errors import Because, ConfigurationError
from broker.model import Kind
from broker.policy import cedar
from broker.policy.load import Allowance, Sources, Statement

ENTITY_OF = {
    Kind.TOOL: "Tool",
    Kind.RESOURCE: "Resource",
    Kind.TEMPLATE: "Template",
    Kind.PROMPT: "Prompt",
}
"""Entity types by kind. A template and a resource may have the same name, hence two types."""

Uid = tuple[str, str]
"""Type and id of an entity."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A set that can be put in force. `permits` is the same set without its forbids."""

    version: str
    policies: cedarpy.PolicySet
    permits: cedarpy.PolicySet
    schema: cedarpy.Schema
    rules: Mapping[str, Because]
    roles: frozenset[str]
    allowances: tuple[Allowance, ...]
    mentioned: Mapping[Uid, str]
    """Entities that hard rules name, and where."""
    delegates: Mapping[str, frozenset[str]]
    """By role, the agents and roles that it may delegate to."""


@dataclass(frozen=True, slots=True)
class _Rule:
    id: str
    text: str
    place: str
    because: Because
    permits: bool
    mentions: frozenset[Uid] = frozenset()


def compile_sources(sources: Sources) -> Compiled:
    """Translate, check and parse.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    schema = _schema(sources.schema)
    rules = [_permit(allowance) for allowance in sources.allowances]
    rules += [_hard_rule(statement, schema) for statement in sources.statements]
    _refuse_repeated_ids(rules)
    text = "\n".join(rule.text for rule in rules)
    return Compiled(
        version=_version(sources, text),
        policies=cedarpy.PolicySet.from_str(text),
        permits=cedarpy.PolicySet.from_str("\n".join(rule.text for rule in rules if rule.permits)),
        schema=schema,
        rules={rule.id: rule.because for rule in rules},
        roles=sources.roles,
        allowances=sources.allowances,
        mentioned={uid: rule.place for rule in rules for uid in sorted(rule.mentions)},
        delegates=sources.delegates,
    )


def _schema(text: str) -> cedarpy.Schema:
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise ConfigurationError(f"policies/schema.cedarschema:1: {error}") from error


def _version(sources: Sources, text: str) -> str:
    """The same for everybody who loads the same sources, whatever is connected."""
    patterns = [
        [a.id, [[p.glob, sorted(p.kinds), p.side_effects and sorted(p.side_effects)] for p in a.patterns]]
        for a in sources.allowances
    ]
    delegates = {role: sorted(names) for role, names in sorted(sources.delegates.items())}
    whole = json.dumps([sources.schema, text, patterns, sorted(sources.roles), delegates])
    return f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}"


def _permit(allowance: Allowance) -> _Rule:
    # ids and roles are made of letters, digits and `_.-/`: they need no escaping
    text = (
        f'@id("{allowance.id}") permit (principal in Role::"{allowance.role}", '
        f'action in [Action::"call", Action::"list"], resource in Selection::"{allowance.id}");'
    )
    because = Because(allowance.id, allowance.text)
    return _Rule(allowance.id, text, allowance.place, because, permits=True)


def _hard_rule(statement: Statement, schema: cedarpy.Schema) -> _Rule:
    parsed = _parsed(statement)
    marks = cast("dict[str, str]", parsed.get("annotations", {}))
    rule, reason = marks.get("id"), marks.get("reason")
    if not rule or not reason:
        raise _mistake(
            statement,
            f"the rule has no {'@reason' if rule else '@id'}",
            'begin it with `@id("name") @reason("why, in words an agent can use")`',
        )
    problem = cedar.misfit(statement.text, schema)
    if problem:
        raise _mistake(statement, problem, "policies/schema.cedarschema says what rules can speak about")
    because = Because(rule, f"{statement.place} {reason}")
    mentions = frozenset(_mentions(parsed))
    return _Rule(rule, statement.text, statement.place, because, parsed["effect"] == "permit", mentions)


def _parsed(statement: Statement) -> dict[str, Any]:
    """The policy as JSON: exactly one, and no template."""
    try:
        found = json.loads(cedarpy.policies_to_json_str(statement.text))
    except ValueError as error:
        raise _mistake(statement, f"not Cedar: {error}", "a policy ends with `;`") from error
    static = cast("dict[str, dict[str, Any]]", found["staticPolicies"])
    if found["templates"] or len(static) != 1:
        raise _mistake(statement, "templates (`?principal`, `?resource`) are not used here")
    return next(iter(static.values()))


def _mentions(value: object) -> Iterator[Uid]:
    """Every entity that a policy names: `{"type": …, "id": …}` wherever it stands."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            fields = cast("dict[str, object]", item)
            kind, name = fields.get("type"), fields.get("id")
            if isinstance(kind, str) and isinstance(name, str):
                yield kind, name
            todo += fields.values()
        elif isinstance(item, list):
            todo += cast("list[object]", item)


def _refuse_repeated_ids(rules: Collection[_Rule]) -> None:
    places: dict[str, str] = {}
    for rule in rules:
        if rule.id in places:
            raise ConfigurationError(
                f"{rule.place}: the id `{rule.id}` is taken by {places[rule.id]}",
                hint="decisions are explained by id: give each rule its own",
            )
        places[rule.id] = rule.place


def _mistake(statement: Statement, message: str, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(f"{statement.place}: {message}", hint=hint)
