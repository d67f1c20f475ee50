"""What did a decision look at? Written into the record of a call, and read back to decide it once more.

A record holds who asked (with the roles and level of everybody in the chain then), what was known of the
target, and the situation. Of the arguments that rules can speak about it holds the numbers, and the texts
that the operator has marked with `record: true`; of all others only that they were there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from broker.arguments import UnreadableArgumentError, values
from broker.model import (
    Agent,
    AgentId,
    Argument,
    Attestation,
    Json,
    Kind,
    MicroUSD,
    OrganisationId,
    Origin,
    Principal,
    Role,
    SideEffect,
    Situation,
    Target,
)

UNRECORDED = "(not recorded)"
"""Stands where a text was that is not in the record."""

_EXACT = 2**53
_MOST_VALUES = 16
_LONGEST_TEXT = 200
_CALM = Situation()


def looked_at(
    principal: Principal,
    target: Target,
    params: Json,
    situation: Situation,
    hidden: Collection[str] = (),
) -> Json:
    """What a decision looked at, as facts of a record. What is as always is left out.

    Args:
        principal: who called.
        target: what.
        params: with what.
        situation: what it was judged on besides.
        hidden: texts that must not be in a record.
    """
    facts: Json = {"actors": [_actor(agent) for agent in principal.actors]}
    if target.labels:
        facts["labels"] = sorted(target.labels)
    for name, value, usual in (
        ("price", target.price, 0),
        ("risk", target.risk, 0),
        ("min_trust", target.min_trust, 0),
        ("acts_as", target.agent, None),
        ("trust", situation.trust, _CALM.trust),
    ):
        if value != usual:
            facts[name] = value
    if target.arguments:
        facts["arguments"] = [_argument(argument, params, hidden) for argument in target.arguments]
    if situation.taint:
        facts["taint"] = sorted(situation.taint)
    if situation.provenance:
        facts["provenance"] = {name: str(origin) for name, origin in situation.provenance.items()}
    if situation.counters:
        facts["counters"] = {name: _whole(count) for name, count in situation.counters.items()}
    if situation.approved:
        facts["approved"] = sorted(situation.approved)
    return facts


def _actor(agent: Agent) -> Json:
    facts: Json = {"roles": sorted(agent.roles), "level": int(agent.attestation[1:])}
    if agent.team is not None:
        facts["team"] = agent.team
    return facts


def _argument(argument: Argument, params: Json, hidden: Collection[str]) -> Json:
    """A declared argument, and the values it had as far as they are recorded: none where it was not there."""
    facts: Json = {"name": argument.name}
    if argument.scale is not None:
        facts["scale"] = argument.scale
    if argument.role is not None:
        facts["role"] = argument.role
    try:
        found = values(argument, params)
    except UnreadableArgumentError:
        return facts | {"unreadable": True}
    if not found:
        return facts
    recorded = argument.scale is not None or argument.record
    long = len(found) > _MOST_VALUES or any(len(str(v)) > _LONGEST_TEXT for v in found)
    if not recorded or long or any(text in str(v) for v in found for text in hidden):
        return facts | {"unrecorded": len(found)}
    return facts | {"values": [_whole(v) if isinstance(v, int) else v for v in found]}


def _whole(number: int) -> int | str:
    """A record holds integers up to 2^53; larger ones as text."""
    return number if -_EXACT < number < _EXACT else str(number)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A decided call out of its record. `at` is RFC 3339; `unrecorded` are the arguments of unknown value.

    Hops of a delegation are not recalled: `rules` tells whether one of them decided.
    """

    call: str
    at: str
    principal: Principal
    target: Target
    params: Json
    situation: Situation
    permitted: bool
    asked: bool
    rules: frozenset[str]
    policy: str
    unrecorded: frozenset[str]


def recalled(body: Mapping[str, Any]) -> Recalled | None:
    """The call that a `call.intent` or `call.denied` record is about; None if it says too little.

    It says too little where nothing was decided (the caller named what did not exist for it), or where the
    record is older than this.
    """
    decision = cast("Json", body.get("decision") or {})
    facts = cast("Json | None", decision.get("situation"))
    if facts is None:
        return None
    what, actor = cast("Json", body["what"]), cast("Json", body["actor"])
    actors = _actors(actor["chain"], facts["actors"], body)
    arguments = cast("list[Json]", facts.get("arguments", []))
    return Recalled(
        call=str(body["call"]),
        at=str(body["ts"]),
        principal=Principal(
            agent=actors[0],
            subject=AgentId(actor["subject"]),
            actors=actors,
            scopes=frozenset(),
            token_id=actor["token"],
            transaction=cast("Json", body["cause"])["task"],
            expires_at=0,
        ),
        target=_target(what, facts, arguments),
        params=_params(what, arguments),
        situation=_situation(facts),
        permitted=bool(decision["permitted"]),
        asked=bool(decision.get("consents")),
        rules=frozenset(decision["rules"]),
        policy=str(decision["policy"]),
        unrecorded=frozenset(each["name"] for each in arguments if "unrecorded" in each),
    )


def _actors(chain: Sequence[str], facts: Sequence[Json], body: Mapping[str, Any]) -> tuple[Agent, ...]:
    organisation = OrganisationId(str(body["log"]).rpartition("/")[2])
    return tuple(
        Agent(
            id=AgentId(name),
            organisation=organisation,
            roles=frozenset(each["roles"]),
            team=each.get("team"),
            attestation=Attestation(f"A{each['level']}"),
        )
        for name, each in zip(chain, facts, strict=True)
    )


def _target(what: Json, facts: Json, arguments: Sequence[Json]) -> Target:
    return Target(
        kind=Kind(what["kind"]),
        name=what["name"],
        connector=what["connector"],
        upstream_name=what["name"],
        definition={},
        price=MicroUSD(facts.get("price", 0)),
        side_effect=SideEffect(what["side_effect"]),
        labels=frozenset(facts.get("labels", ())),
        agent=None if "acts_as" not in facts else AgentId(facts["acts_as"]),
        arguments=tuple(_declared(each) for each in arguments),
        risk=facts.get("risk", 0),
        min_trust=facts.get("min_trust", 0),
    )


def _declared(facts: Json) -> Argument:
    """The argument, as standing at the top under its own name: there the parameters below have it."""
    role = Role(facts["role"]) if "role" in facts else None
    return Argument(facts["name"], facts["name"], facts.get("scale"), role)


def _params(what: Json, arguments: Sequence[Json]) -> Json:
    given = {each["name"]: value for each in arguments if (value := _given(each)) is not None}
    return {"name": what["name"], "arguments": given}


def _given(facts: Json) -> object:
    """What an agent would have to send for rules to see what they saw."""
    if "unreadable" in facts:
        return {}
    if "unrecorded" in facts:
        return UNRECORDED if facts.get("scale") is None else 0
    if "values" not in facts:
        return None
    scale = facts.get("scale")
    return [v if scale is None else format(Decimal(v).scaleb(-scale), "f") for v in facts["values"]]


def _situation(facts: Json) -> Situation:
    return Situation(
        taint=frozenset(facts.get("taint", ())),
        provenance={name: Origin(origin) for name, origin in facts.get("provenance", {}).items()},
        counters={name: int(count) for name, count in facts.get("counters", {}).items()},
        trust=facts.get("trust", _CALM.trust),
        approved=frozenset(facts.get("approved", ())),
    )
