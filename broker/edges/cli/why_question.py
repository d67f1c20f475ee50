"""Whom does `broker why` ask about, and at which moment? Out of its options, and the state."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from broker.edges.cli.composition import Office, on_the_state
from broker.errors import ConfigurationError, InvalidRequest, UnknownTarget
from broker.model import Agent, AgentId, Attestation, Origin, Principal, Situation

if TYPE_CHECKING:
    from broker.settings import Settings


def principal_of_token(ctx: typer.Context, settings: "Settings", path: str) -> Principal:
    """Whom a token stands for, by the agents and delegations as they are now."""
    from broker.identity.authenticator import TokenAuthenticator
    from broker.identity.chains import Chains

    try:
        token = (sys.stdin.read() if path == "-" else Path(path).read_text(encoding="ascii")).strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read a token from `{path}`") from error

    async def look(office: Office) -> Principal:
        chains = Chains(office.store.agents, office.store.grants, time.time)
        identity = TokenAuthenticator(settings, office.keys, office.store.agents, chains)
        principal, _ = await identity.stands_for(token)
        return principal

    return on_the_state(ctx, settings, look)


def principal_of_names(
    ctx: typer.Context,
    settings: "Settings",
    agent: str | None,
    chain: Sequence[str],
    *,
    roles: Sequence[str],
    team: str | None,
    attestation: Attestation,
) -> Principal:
    """An enrolled agent, else one that is made up of the rest, and those that it acts for.

    Raises:
        UnknownTarget: no such agent is enrolled.
    """
    from broker.policy.question import chain_of, hypothetical

    names = ([agent] if agent else []) + [name for name in chain if not name.startswith("role:")]
    known = _agents(ctx, settings, names)
    made_up = hypothetical("somebody", frozenset(roles), team=team, attestation=attestation)
    return chain_of([known[agent] if agent else made_up, *(_in_chain(name, known) for name in chain)])


def situation_of(
    taint: Sequence[str] | None,
    provenance: Sequence[str] | None,
    counters: Sequence[str] | None,
    *,
    trust: int,
    approved: Sequence[str] | None,
) -> Situation:
    """The moment that the options describe.

    Raises:
        InvalidRequest: one of them says nothing.
    """
    return Situation(
        taint=frozenset(taint or ()),
        provenance={name: _origin(value) for name, value in _pairs(provenance)},
        counters={name: _whole(value) for name, value in _pairs(counters)},
        trust=trust,
        approved=frozenset(approved or ()),
    )


def _agents(ctx: typer.Context, settings: "Settings", names: Sequence[str]) -> dict[str, Agent]:
    if not names:
        return {}

    async def look(office: Office) -> dict[str, Agent]:
        found: dict[str, Agent] = {}
        for name in names:
            agent = await office.store.agents.agent(AgentId(name))
            if agent is None:
                raise UnknownTarget(f"there is no agent `{name}`", hint="`broker agent list` shows all")
            found[name] = agent
        return found

    return on_the_state(ctx, settings, look)


def _in_chain(name: str, known: dict[str, Agent]) -> Agent:
    from broker.policy.question import hypothetical

    if name.startswith("role:"):
        return hypothetical(name, frozenset(name.removeprefix("role:").split(",")))
    return known[name]


def _pairs(words: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InvalidRequest(f"`{word}` says nothing", hint="write NAME=VALUE")
        yield name, value


def _origin(value: str) -> Origin:
    try:
        return Origin(value)
    except ValueError:
        known = ", ".join(f"`{origin}`" for origin in Origin)
        raise InvalidRequest(f"`{value}` is no origin", hint=f"one of {known}") from None


def _whole(value: str) -> int:
    if not value.isdecimal():
        raise InvalidRequest(f"`{value}` is no whole number", hint="e.g. --counter writes=21")
    return int(value)
