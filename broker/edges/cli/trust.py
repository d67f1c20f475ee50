"""How far is an agent trusted, why, and what would other weights have said? `broker trust`."""

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest, UnknownTarget

if TYPE_CHECKING:
    from broker.model import Agent
    from broker.reputation import Account
    from broker.trust.replay import Update

app = noun("How far agents are trusted: show, replay, release.")

AgentName = Annotated[str, typer.Argument(metavar="AGENT", help="Its id.")]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="As of then, e.g. 2026-11-24T09:00Z.")]
Rules = Annotated[
    Path, typer.Option("--rules", help="Weights to try, a file like policies/trust/weights.yaml.")
]
Reason = Annotated[
    str, typer.Option("--reason", help="What was found when it was looked at; it is recorded.")
]


@app.command()
def show(
    ctx: typer.Context, agent: AgentName, at: At = None, config: Config = None, as_json: AsJson = False
) -> None:
    """The score of an agent, what it comes from, and when it would rise. Worked out from the log."""
    from broker.policy.load import shipped_policies
    from broker.reputation import account
    from broker.trust.weights import load_weights

    settings = configured(config).settings
    weights = load_weights(policies_of(settings), shipped_policies())
    now = time.time_ns() // 1000 if at is None else _micros(at)

    async def look(office: Office) -> "Account":
        return await account(office.store.log, await _agent(office, agent), weights, now)

    found = on_the_state(ctx, settings, look)
    Output(as_json=as_json).item(found.facts, "\n".join(_told(agent, found)))


@app.command()
def replay(ctx: typer.Context, rules: Rules, config: Config = None, as_json: AsJson = False) -> None:
    """Every change of trust that other weights would have made of the log."""
    from broker.reputation import replayed
    from broker.trust.weights import read_weights

    weights = read_weights(rules, str(rules))

    async def look(office: Office) -> "list[Update]":
        return await replayed(office.store.log, weights)

    updates = on_the_state(ctx, configured(config).settings, look)
    rows: list[dict[str, Any]] = [
        {
            "time": _time(one.at),
            "agent": one.agent,
            "score": one.reckoning.score,
            "band": str(one.band),
            "because": ", ".join(f"{c.rule} {c.points}" for c in one.reckoning.contributions[:3]),
        }
        for one in updates
    ]
    columns = ["time", "agent", "score", "band", "because"]
    Output(as_json=as_json).rows(columns, rows, empty="these weights would have changed nobody's trust")


@app.command()
def release(
    ctx: typer.Context, agent: AgentName, *, reason: Reason, config: Config = None, as_json: AsJson = False
) -> None:
    """Let what speaks against an agent not count any more. It is watched for a while."""

    async def act(office: Office) -> None:
        known = await _agent(office, agent)
        await office.journal.release(known, by=getpass.getuser(), reason=reason)

    on_the_state(ctx, configured(config).settings, act)
    Output(as_json=as_json).item(
        {"agent": agent, "released": True}, f"{agent}: released, and watched for a while"
    )


async def _agent(office: Office, name: str) -> "Agent":
    from broker.model import AgentId

    known = await office.store.agents.agent(AgentId(name))
    if known is None:
        raise UnknownTarget(f"there is no agent `{name}`", hint="`broker agent list` shows all")
    return known


def _told(agent: str, found: "Account") -> list[str]:
    one = found.reckoning
    lines = [
        f"{agent}: {found.score} of 1000, {found.band}",
        f"{'base':22} {one.base:>5}",
        f"{'earned':22} {one.earned:>5}",
        *(
            f"{c.rule:22} {-c.points:>5}  {c.count} signs, newest in records {', '.join(map(str, c.seqs))}"
            for c in one.contributions
        ),
        f"{'ceiling':22} {one.ceiling:>5}",
    ]
    if found.held_by is not None:
        lines.append(
            f"held by `{found.held_by}` until an operator releases it: `broker trust release {agent}`"
        )
    elif found.rises_in_s is not None:
        hours = -(-found.rises_in_s // 3600)
        lines.append(f"high enough for {found.next_band} in {hours} h, if nothing more speaks against it")
    lines += [f"see `broker calls show {call}`" for c in one.contributions[:3] for call in c.calls[:1]]
    return lines


def _time(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _micros(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"`{text}` is not a time", hint="write 2026-11-24T09:00:00Z") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * 1_000_000
