"""What in the policies cannot do what its author meant? Remarks on a set that loads without a mistake.

A remark is no mistake: an upstream may be down, an agent be enrolled later. What is not known here (no
catalogue, no agents) is not remarked on.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from broker.documents import did_you_mean
from broker.model import Agent, Kind, Situation, Target
from broker.patterns import covers, matches
from broker.policy.compile import ENTITY_OF, Compiled, compile_sources
from broker.policy.interface import Obligations
from broker.policy.load import Sources
from broker.policy.question import chain_of, hypothetical
from broker.policy.roles import Allowance, Pattern
from broker.policy.rules import Rule
from broker.policy.selection import selects
from broker.policy.snapshot import Snapshot

_PREFIXED = re.compile(r"([^*]+?)__")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_*-]+")
_ANY = "*"
_CALM = Situation()


@dataclass(frozen=True, slots=True)
class Remark:
    """What is odd, where it stands, and what may have been meant. A `note` may well be on purpose."""

    place: str
    text: str
    hint: str | None = None
    note: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What the policies are held against. None: not known.

    `connectors` are those of the configuration, with the prefixes of their names.
    """

    targets: Sequence[Target] | None = None
    agents: Sequence[Agent] | None = None
    connectors: Mapping[str, str] | None = None


def review(sources: Sources, world: World) -> list[Remark]:
    """Everything odd, by place.

    Raises:
        ConfigurationError: the sources hold a mistake.
    """
    compiled = compile_sources(sources)
    found = [
        *_unmatched(compiled, world),
        *_covered(compiled),
        *_always_forbidden(sources, compiled, world),
        *_names(compiled, world),
        *_roles(sources, world),
        *_delegates(sources, world),
    ]
    return sorted(found, key=lambda remark: _by_place(remark.place))


def _by_place(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (place, 0)


def _unmatched(compiled: Compiled, world: World) -> Iterator[Remark]:
    """Patterns that nothing has, or ever can have, as a name."""
    for allowance in compiled.allowances:
        for pattern in allowance.patterns:
            if pattern.glob == _ANY or pattern.acts_as:
                continue
            if world.targets is None:
                problem = _impossible(pattern, world.connectors)
            elif not any(selects(pattern, target) for target in world.targets):
                problem = _matches_nothing(pattern, world.targets)
            else:
                problem = None
            if problem is not None:
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


def _impossible(pattern: Pattern, connectors: Mapping[str, str] | None) -> Remark | None:
    """Without a catalogue: a tool's name begins with its connector's, and holds few characters."""
    prefixes = set((connectors or {}).values())
    if Kind.TOOL not in pattern.kinds or not prefixes or "" in prefixes:
        return None
    if not _TOOL_NAME.fullmatch(pattern.glob):
        text = f"`{pattern.glob}` matches no tool: names hold letters, digits, `_` and `-`"
        meant = pattern.glob.replace(".", "__", 1)
        known = meant.partition("__")[0] in prefixes
        return Remark(pattern.place, text, f"did you mean `{meant}`?" if known else None)
    prefix = _PREFIXED.match(pattern.glob)
    if prefix is None or prefix[1] in prefixes:
        return None
    text = f"`{pattern.glob}` matches no tool: no connector is called `{prefix[1]}`"
    listed = f"the connectors are {', '.join(f'`{p}`' for p in sorted(prefixes))}"
    return Remark(pattern.place, text, did_you_mean(prefix[1], prefixes) or listed)


def _covered(compiled: Compiled) -> Iterator[Remark]:
    """Patterns that another one of the same role makes superfluous; of two that mean the same, the later."""
    by_role: dict[str, list[tuple[Allowance, Pattern]]] = {}
    for allowance in compiled.allowances:
        by_role.setdefault(allowance.role, []).extend((allowance, p) for p in allowance.patterns)
    for entries in by_role.values():
        for number, (allowance, pattern) in enumerate(entries):
            if allowance.obligations != Obligations() or (allowance.approver and not allowance.asks):
                continue  # its terms hold even where something else permits the call
            for at, (wide, wider) in enumerate(entries):
                twice = _wider(pattern, wider) and _as_free(allowance, wide)
                if (
                    at != number
                    and _as_free(wide, allowance)
                    and _wider(wider, pattern)
                    and (at < number or not twice)
                ):
                    text = f"`{pattern.glob}` changes nothing: {wider.place} allows `{wider.glob}` already"
                    yield Remark(pattern.place, text, "remove one of the two")
                    break


def _as_free(wide: Allowance, narrow: Allowance) -> bool:
    """Whether one entry permits at least whenever another does."""
    return not wide.asks and (
        wide.condition is None or (wide.condition == narrow.condition and not narrow.asks)
    )


def _wider(wide: Pattern, narrow: Pattern) -> bool:
    effects = wide.side_effects is None or (
        narrow.side_effects is not None and narrow.side_effects <= wide.side_effects
    )
    labels = wide.labels is None or (narrow.labels is not None and narrow.labels <= wide.labels)
    same = wide.acts_as == narrow.acts_as and narrow.kinds <= wide.kinds
    return same and effects and labels and covers(wide.glob, narrow.glob)


def _always_forbidden(sources: Sources, compiled: Compiled, world: World) -> Iterator[Remark]:
    """Entries whose every target is forbidden to whoever has the role, whatever the call."""
    settled = {rule.id: rule.cedar for rule in compiled.rules.values() if _is_settled(rule)}
    if not settled or not world.targets:
        return
    free = tuple(replace(a, condition=None, asks=False, approver=None) for a in sources.allowances)
    hard = tuple(s for s in sources.statements if s.text in settled.values())
    always = Snapshot(
        compile_sources(replace(sources, allowances=free, statements=hard)), world.targets, _any_time
    )
    for allowance in compiled.allowances:
        chosen = [t for t in world.targets if any(selects(p, t) for p in allowance.patterns)]
        actor = chain_of([hypothetical("somebody", frozenset({allowance.role}))])
        decisions = [always.decide(actor, target, {}, _CALM) for target in chosen]
        if chosen and not any(decision.permitted for decision in decisions):
            shown = any(always.classes.number(target) in always.listed(actor) for target in chosen)
            rules = sorted({b.rule for decision in decisions for b in decision.because} & settled.keys())
            yield _no_effect(allowance, rules, listed=shown)


def _no_effect(allowance: Allowance, rules: Sequence[str], *, listed: bool) -> Remark:
    named = ", ".join(f"`{rule}`" for rule in rules)
    text = f"nobody can call what this entry allows: {named} always forbids it"
    if listed:
        hint = f"who has the role `{allowance.role}` sees it listed, and reads the reason on trying"
        return Remark(allowance.place, text, hint, note=True)
    return Remark(allowance.place, text, "remove the entry, or narrow the rule")


def _any_time() -> float:
    """No settled rule looks at the clock."""
    return 0.0


def _is_settled(rule: Rule) -> bool:
    """Whether a forbid depends on nothing but the role and the target."""
    scope = rule.parsed["principal"]
    broad = scope["op"] == "All" or scope.get("entity", {}).get("type") == "Role"
    conditions = json.dumps(rule.parsed["conditions"])
    free = not re.search(r'"Var": "(principal|context|action)"', conditions)
    return not (rule.permits or rule.shadow or rule.approver) and broad and free


def _names(compiled: Compiled, world: World) -> Iterator[Remark]:
    """What hard rules name and nothing is called."""
    known = _known(compiled, world)
    for (entity, name), place in compiled.mentioned.items():
        names = known.get(entity)
        if names is None or name in names:
            continue
        meant = did_you_mean(name, names)
        if entity != "Label" or meant:  # rules are written for labels that nothing has yet
            yield Remark(place, _KNOWN_AS[entity].format(name), meant)


def _known(compiled: Compiled, world: World) -> Mapping[str, Collection[str]]:
    """By entity type, everything there is; a type is missing where that is not known."""
    known: dict[str, Collection[str]] = {"Role": compiled.roles}
    if world.agents is not None:
        known["Agent"] = {str(agent.id) for agent in world.agents}
        known["Team"] = {agent.team for agent in world.agents if agent.team}
        known["Organisation"] = {str(agent.organisation) for agent in world.agents}
    if world.connectors is not None:
        known["Connector"] = world.connectors.keys()
    if world.targets is not None:
        known["Label"] = {label for target in world.targets for label in target.labels}
        for kind, entity in ENTITY_OF.items():
            known[entity] = {target.name for target in world.targets if target.kind is kind}
    return known


_KNOWN_AS = {
    "Role": "no role is called `{}`",
    "Agent": "no agent is called `{}`",
    "Team": "no agent is in a team `{}`",
    "Organisation": "no agent belongs to an organisation `{}`",
    "Connector": "no connector is called `{}`",
    "Label": "nothing has the label `{}`",
    **{entity: f"no {kind} is called `{{}}`" for kind, entity in ENTITY_OF.items()},
}


def _roles(sources: Sources, world: World) -> Iterator[Remark]:
    """Roles that nobody has, and roles that somebody has and nothing defines."""
    if world.agents is None:
        return
    held = {role for agent in world.agents for role in agent.roles}
    for role, place in sources.places.items():
        if role not in held:
            yield Remark(
                f"{place}:1",
                f"nobody has the role `{role}`",
                f"broker agent set NAME --role {role}",
                note=True,
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
            yield Remark(f"{sources.places[role]}:1", text, hint)
