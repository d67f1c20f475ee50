"""What in the policies cannot do what its author meant? Remarks on a set that loads without a mistake.

A remark is no mistake: an upstream may be down, an agent be enrolled later. What is not known here (no
catalogue, no agents) is not remarked on.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import cedarpy

from broker.documents import did_you_mean
from broker.model import Agent, Kind, Target
from broker.patterns import covers, matches
from broker.policy.compile import ENTITY_OF, Compiled, compile_sources, mentions
from broker.policy.load import Allowance, Pattern, Sources, Statement
from broker.policy.selection import selects
from broker.policy.snapshot import Snapshot

_PREFIXED = re.compile(r"([^*]+?)__")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_*-]+")
_TARGET_TYPES = {entity: kind for kind, entity in ENTITY_OF.items()}


@dataclass(frozen=True, slots=True)
class Remark:
    """What is odd, where it stands, and what may have been meant. A note is odd and may well be on purpose."""

    place: str
    text: str
    hint: str | None = None
    note: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What the policies are held against. None: not known.

    `prefixes` are those of the connectors in the configuration; `labels` all that facts or tools carry.
    """

    targets: Sequence[Target] | None = None
    agents: Sequence[Agent] | None = None
    prefixes: frozenset[str] | None = None
    labels: frozenset[str] = field(default_factory=frozenset[str])


def review(sources: Sources, world: World) -> list[Remark]:
    """Everything odd, by place.

    Raises:
        ConfigurationError: the sources hold a mistake.
    """
    compiled = compile_sources(sources)
    found = [
        *_unmatched(sources, world),
        *_covered(sources),
        *_forbidden(sources, world),
        *_names(compiled, world),
        *_roles(sources, world),
        *_delegates(sources, world),
    ]
    return sorted(found, key=lambda remark: _by_place(remark.place))


def _by_place(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (place, 0)


def _unmatched(sources: Sources, world: World) -> Iterator[Remark]:
    """Patterns that nothing has, or ever can have, as a name."""
    for allowance in sources.allowances:
        for pattern in allowance.patterns:
            if world.targets is not None:
                if pattern.glob != "*" and not any(selects(pattern, t) for t in world.targets):
                    yield _matches_nothing(pattern, world.targets)
            elif (problem := _impossible(pattern, world.prefixes)) is not None:
                yield problem


def _matches_nothing(pattern: Pattern, targets: Sequence[Target]) -> Remark:
    named = [t for t in targets if t.kind in pattern.kinds]
    others = [t for t in named if matches(pattern.glob, t.name)]
    if others:
        effects = ", ".join(sorted({f"`{t.side_effect}`" for t in others}))
        hint = f"what it names {effects}: `tools/*.yaml` says what a tool does"
        return Remark(pattern.place, f"`{pattern.glob}` matches nothing with these side effects", hint)
    elsewhere = next((t for t in targets if matches(pattern.glob, t.name)), None)
    if elsewhere is not None:
        return Remark(
            pattern.place,
            f"`{pattern.glob}` matches nothing of this kind",
            f"`{elsewhere.name}` is a {elsewhere.kind}: name it under `{elsewhere.kind}s`",
        )
    known = {t.name for t in named} | {f"{t.connector}__*" for t in named}
    return Remark(
        pattern.place, f"`{pattern.glob}` matches nothing that is offered", did_you_mean(pattern.glob, known)
    )


def _impossible(pattern: Pattern, prefixes: frozenset[str] | None) -> Remark | None:
    """Without a catalogue: a tool's name begins with its connector's, and holds few characters."""
    if Kind.TOOL not in pattern.kinds or not prefixes or "" in prefixes:
        return None
    if not _TOOL_NAME.fullmatch(pattern.glob):
        text = f"`{pattern.glob}` matches no tool: names hold letters, digits, `_` and `-`"
        return Remark(pattern.place, text, did_you_mean(pattern.glob, {f"{p}__*" for p in prefixes}))
    prefix = _PREFIXED.match(pattern.glob)
    if prefix is None or prefix[1] in prefixes:
        return None
    text = f"`{pattern.glob}` matches no tool: no connector is called `{prefix[1]}`"
    listed = f"the connectors are {', '.join(f'`{p}`' for p in sorted(prefixes))}"
    return Remark(pattern.place, text, did_you_mean(prefix[1], prefixes) or listed)


def _covered(sources: Sources) -> Iterator[Remark]:
    """Patterns that another one of the same role makes superfluous; of two that mean the same, the later."""
    by_role: dict[str, list[Pattern]] = {}
    for allowance in sources.allowances:
        by_role.setdefault(allowance.role, []).extend(allowance.patterns)
    for patterns in by_role.values():
        for number, pattern in enumerate(patterns):
            wider = next(
                (
                    other
                    for at, other in enumerate(patterns)
                    if at != number and _wider(other, pattern) and (at < number or not _wider(pattern, other))
                ),
                None,
            )
            if wider is not None:
                text = f"`{pattern.glob}` changes nothing: {wider.place} allows `{wider.glob}` already"
                yield Remark(pattern.place, text, "remove one of the two")


def _wider(wide: Pattern, narrow: Pattern) -> bool:
    effects = wide.side_effects is None or (
        narrow.side_effects is not None and narrow.side_effects <= wide.side_effects
    )
    return narrow.kinds <= wide.kinds and effects and covers(wide.glob, narrow.glob)


def _forbidden(sources: Sources, world: World) -> Iterator[Remark]:
    """Entries whose every target is forbidden to whoever has the role, whatever the call."""
    settled = tuple(statement for statement in sources.statements if _is_settled(statement))
    if not settled or not world.targets:
        return
    always = Snapshot(compile_sources(replace(sources, statements=settled)), world.targets)
    for allowance in sources.allowances:
        chosen = [t for t in world.targets if any(selects(p, t) for p in allowance.patterns)]
        actor = chain_of([hypothetical("somebody", frozenset({allowance.role}))])
        decisions = [always.decide(actor, target) for target in chosen]
        if chosen and not any(decision.permitted for decision in decisions):
            listed = bool(always.listed(actor))
            rules = sorted({b.rule for decision in decisions for b in decision.because})
            named = ", ".join(f"`{rule}`" for rule in rules)
            yield Remark(
                allowance.place,
                f"nobody can call what this entry allows: {named} always forbids it"
                + ("; it is only listed" if listed else ""),
                f"who has the role `{allowance.role}` reads the rule's reason"
                if listed
                else "remove the entry, or narrow the rule",
                note=listed,
            )


def _is_settled(statement: Statement) -> bool:
    """Whether a forbid depends on nothing but the role and the target."""
    policy = _parsed(statement)
    scope = policy["principal"]
    broad = scope["op"] == "All" or scope.get("entity", {}).get("type") == "Role"
    conditions = json.dumps(policy["conditions"])
    return (
        policy["effect"] == "forbid"
        and broad
        and not re.search(r'"Var": "(principal|context|action)"', conditions)
    )


def _parsed(statement: Statement) -> dict[str, Any]:
    found = json.loads(cedarpy.policies_to_json_str(statement.text))
    return cast("dict[str, Any]", next(iter(found["staticPolicies"].values())))


def _names(compiled: Compiled, world: World) -> Iterator[Remark]:
    """What hard rules name and nothing is called."""
    targets = world.targets or ()
    known: dict[str, Collection[str] | None] = {
        "Role": compiled.roles,
        "Agent": None if world.agents is None else {str(a.id) for a in world.agents},
        "Team": None if world.agents is None else {a.team for a in world.agents if a.team},
        "Organisation": None if world.agents is None else {str(a.organisation) for a in world.agents},
        "Connector": world.connectors,
        "Label": world.labels,
    }
    if world.targets is not None:
        known |= {entity: {t.name for t in targets if t.kind is kind} for kind, entity in ENTITY_OF.items()}
    for (entity, name), place in compiled.mentioned.items():
        names = known.get(entity)
        if names is not None and name not in names:
            yield Remark(place, f"{_KNOWN_AS[entity].format(name=name)}", did_you_mean(name, names))


_KNOWN_AS = {
    "Role": "no role is called `{name}`",
    "Agent": "no agent is called `{name}`",
    "Team": "no agent is in a team `{name}`",
    "Organisation": "no agent belongs to an organisation `{name}`",
    "Connector": "no connector is called `{name}`",
    "Label": "nothing has the label `{name}`",
    **{entity: f"no {kind} is called `{{name}}`" for kind, entity in ENTITY_OF.items()},
}


def _roles(sources: Sources, world: World) -> Iterator[Remark]:
    """Roles that nobody has, and roles that somebody has and nothing defines."""
    if world.agents is None:
        return
    held = {role for agent in world.agents for role in agent.roles}
    for role, place in sources.places.items():
        if role not in held:
            yield Remark(
                place, f"nobody has the role `{role}`", f"broker agent set NAME --role {role}", note=True
            )
    for agent in world.agents:
        for role in sorted(agent.roles - sources.roles):
            hint = did_you_mean(role, sources.roles) or "write it into `roles/`, or take it from the agent"
            yield Remark(f"agent {agent.id}", f"has the role `{role}`, which nothing defines", hint)


def _delegates(sources: Sources, world: World) -> Iterator[Remark]:
    """Delegation to nobody: neither an agent nor a role that somebody has is called so."""
    if world.agents is None:
        return
    ids = {str(agent.id) for agent in world.agents}
    held = {role for agent in world.agents for role in agent.roles}
    for role, names in sources.delegates.items():
        for name in sorted(names - {"*"} - ids - held):
            text = f"role `{role}` may delegate to `{name}`, and that is nobody"
            hint = did_you_mean(name, ids | held | sources.roles)
            yield Remark(sources.places[role], text, hint)
