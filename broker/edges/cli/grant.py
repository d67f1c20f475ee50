"""Who acts for whom, and how is that ended? `broker grant …` works on the state, server or not."""

import getpass
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars
from broker.errors import UnknownTarget
from broker.model import AgentId, Grant, GrantId

app = noun("Delegations, who acts for whom: list, show, revoke.")

_COLUMNS = ("grant", "by", "to", "subject", "depth", "task", "expires", "status")

Id = Annotated[
    str, typer.Argument(metavar="GRANT", help="The id of one hop, as `broker grant list` shows it.")
]
Agent = Annotated[str | None, typer.Option("--agent", help="Only hops by or to this agent.")]
All = Annotated[bool, typer.Option("--all", help="Also what is revoked or has expired.")]
Last = Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the newest.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the log.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    agent: Agent = None,
    ended: All = False,
    last: Last = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Delegations, newest first."""
    from broker.grants import GrantFilter

    where = GrantFilter(
        agent=None if agent is None else AgentId(agent),
        standing_at=None if ended else int(time.time()),
        limit=last,
    )

    async def look(office: Office) -> Sequence[Grant]:
        return await office.store.grants.find(where)

    found = on_the_state(ctx, configured(config).settings, look)
    empty = "no delegation stands" if not ended else "there has been no delegation"
    Output(as_json=as_json).rows(_COLUMNS, [_row(grant) for grant in found], empty=empty)


@app.command()
def show(ctx: typer.Context, grant: Id, config: Config = None, as_json: AsJson = False) -> None:
    """One hop in its tree: those that it follows from, and all that follow from it."""

    async def look(office: Office) -> tuple[Sequence[Grant], Sequence[Grant]]:
        store = office.store.grants
        return await store.chain(GrantId(grant)), await store.subtree(GrantId(grant))

    chain, below = on_the_state(ctx, configured(config).settings, look)
    if not chain:
        raise UnknownTarget(f"there is no delegation `{grant}`", hint="`broker grant list --all` shows all")
    above = list(reversed(chain[1:]))
    data = {
        "above": [_facts(hop) for hop in above],
        "grant": _facts(chain[0]),
        "below": [_facts(hop) for hop in below[1:]],
    }
    Output(as_json=as_json).item(data, "\n".join(_drawn([*above, *below], chain[0])))


@app.command()
def revoke(
    ctx: typer.Context, grant: Id, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """End a hop and everything below it: the next call is refused, calls in flight are cancelled."""

    async def end(office: Office) -> int:
        return await office.grants.revoke(GrantId(grant), by=getpass.getuser(), reason=reason)

    ended = on_the_state(ctx, configured(config).settings, end)
    hops = "1 hop" if ended == 1 else f"{ended} hops"
    told = f"{grant}: {hops} revoked" if ended else f"{grant} was revoked already"
    Output(as_json=as_json).item({"grant": grant, "revoked": ended}, told)


def _drawn(hops: Sequence[Grant], named: Grant) -> Iterator[str]:
    """Hops below one another, indented by depth; the one that was asked for is marked."""
    children: dict[str | None, list[Grant]] = {}
    for hop in hops:
        children.setdefault(hop.parent, []).append(hop)
    todo = children.get(None, [])[::-1]
    while todo:
        hop = todo.pop()
        todo += children.get(hop.id, [])[::-1]
        mark = "*" if hop.id == named.id else " "
        task = f"  task “{hop.task}”" if hop.task else ""
        indent = "  " * (hop.depth - 1)
        yield visible(f"{mark} {indent}{hop.by} → {hop.to}  {_status(hop)}{_bounds(hop)}{task}  {hop.id}")


def _bounds(hop: Grant) -> str:
    """What a hop allows no more than, where it says."""
    parts = [f"tools {', '.join(limit.match for limit in hop.limits)}"] if hop.limits is not None else []
    parts += [f"at most {dollars(hop.cap_micro_usd)}"] if hop.cap_micro_usd is not None else []
    parts += [f"{hop.max_calls} calls"] if hop.max_calls is not None else []
    return f"  ({'; '.join(parts)})" if parts else ""


def _status(grant: Grant) -> str:
    if grant.revoked_at is not None:
        return "revoked"
    return "stands" if time.time() < grant.expires_at else "expired"


def _row(grant: Grant) -> dict[str, object]:
    return {
        "grant": grant.id,
        "by": grant.by,
        "to": grant.to,
        "subject": grant.subject,
        "depth": grant.depth,
        "task": grant.task,
        "expires": _time(grant.expires_at),
        "status": _status(grant),
    }


def _facts(grant: Grant) -> dict[str, object]:
    limits = grant.limits
    return _row(grant) | {
        "parent": grant.parent,
        "organisation": grant.organisation,
        "transaction": grant.transaction,
        "max_depth": grant.max_depth,
        "purpose": grant.purpose,
        "call": grant.call,
        "limits": None
        if limits is None
        else [{"match": limit.match, "arguments": dict(limit.arguments)} for limit in limits],
        "cap_micro_usd": grant.cap_micro_usd,
        "max_calls": grant.max_calls,
        "created": _time(grant.created_at),
        "revoked": None if grant.revoked_at is None else _time(grant.revoked_at),
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
