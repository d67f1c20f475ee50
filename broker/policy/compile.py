"""What do the sources mean? One validated Cedar policy set, and what each of its rules is about.

The set does not change when the catalogue does: what a role's patterns match is data.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import cedarpy

from broker.errors import Because, ConfigurationError
from broker.model import Argument, Kind
from broker.policy import rules as reading
from broker.policy.load import SCHEMA_FILE, Sources
from broker.policy.roles import Allowance
from broker.policy.rules import Rule
from broker.policy.static import Uid

ENTITY_OF = {
    Kind.TOOL: "Tool",
    Kind.RESOURCE: "Resource",
    Kind.TEMPLATE: "Template",
    Kind.PROMPT: "Prompt",
    Kind.MODEL: "Model",
    Kind.AGENT: "AgentTarget",
}
"""Entity types by kind. A template and a resource may have the same name, hence two types."""


@dataclass(frozen=True)
class Compiled:
    """A set that can be put in force. `rules` holds shadow rules, too; the sets of policies do not."""

    version: str
    schema: cedarpy.Schema
    schema_text: str
    rules: Mapping[str, Rule]
    roles: frozenset[str]
    allowances: tuple[Allowance, ...]
    arguments: tuple[Argument, ...]
    delegates: Mapping[str, frozenset[str]]
    """By role, the agents and roles that it may delegate to."""
    policies: cedarpy.PolicySet
    permits: cedarpy.PolicySet
    """The same set without its forbids."""
    shadowed: cedarpy.PolicySet | None
    """The set as it would be with the shadow rules; None if there are none."""

    @cached_property
    def because(self) -> Mapping[str, Because]:
        """By rule, what to say where it has decided."""
        return {rule.id: rule.because for rule in self.rules.values()}

    @cached_property
    def mentioned(self) -> Mapping[Uid, str]:
        """Entities that hard rules name, and where."""
        return {uid: rule.place for rule in self.rules.values() for uid in sorted(rule.mentions)}


def compile_sources(sources: Sources) -> Compiled:
    """Translate, check and parse.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    schema_text = sources.schema + declared_types(sources.declarations.arguments)
    schema = _schema(schema_text)
    rules = [reading.of_allowance(allowance) for allowance in sources.allowances]
    rules += [reading.of_statement(statement, schema) for statement in sources.statements]
    reading.refuse_repeated_ids(rules)
    enforced = [rule for rule in rules if not rule.shadow]
    return Compiled(
        version=_version(sources, schema_text, rules),
        schema=schema,
        schema_text=schema_text,
        rules={rule.id: rule for rule in rules},
        roles=sources.roles,
        allowances=sources.allowances,
        arguments=sources.declarations.arguments,
        delegates=sources.delegates,
        policies=_set(enforced),
        permits=_set(rule for rule in enforced if rule.permits),
        shadowed=_set(rules) if len(rules) > len(enforced) else None,
    )


def declared_types(arguments: Sequence[Argument]) -> str:
    """The part of the schema that speaks of declared arguments."""
    numbers = [a.name for a in arguments if a.scale is not None]
    texts = [a.name for a in arguments if a.scale is None]
    records = {
        "Numbers": [f"{name}?: Long" for name in numbers],
        "Texts": [f"{name}?: String" for name in texts],
        "Origins": [f"{name}?: String" for name in (*numbers, *texts)],
        "Sums": [f"{name}: Long" for name in numbers],
        "Distinct": [f"{name}: Long" for name in texts],
    }
    return "".join(f"\ntype {name} = {{ {', '.join(fields)} }};" for name, fields in records.items()) + "\n"


def _set(rules: Iterable[Rule]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_str("\n".join(rule.cedar for rule in rules))


def _schema(text: str) -> cedarpy.Schema:
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise ConfigurationError(f"policies/{SCHEMA_FILE}:1: {error}") from error


def _version(sources: Sources, schema_text: str, rules: Sequence[Rule]) -> str:
    """The same for everybody who loads the same sources, whatever is connected."""
    patterns = [[a.id, [asdict(pattern) for pattern in a.patterns]] for a in sources.allowances]
    terms = [[rule.id, asdict(rule.obligations), rule.approver, rule.shadow] for rule in rules]
    delegates = {role: sorted(names) for role, names in sorted(sources.delegates.items())}
    declared = [asdict(entry) for entry in sources.declarations.entries]
    text = [rule.cedar for rule in rules]
    roles = sorted(sources.roles)
    whole = [schema_text, text, patterns, terms, roles, delegates, declared]
    return f"sha256:{hashlib.sha256(json.dumps(whole, default=sorted).encode()).hexdigest()}"
