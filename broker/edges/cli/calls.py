"""What has happened? `broker calls` reads the log beside the server."""

import time
from typing import Annotated

import typer

from broker.audit.interface import Outcome
from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars
from broker.errors import InvalidRequest, UnknownTarget
from broker.model import Json

app = noun("Recorded calls: tail, show, tree.")

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with new calls as they end.")]
Last = Annotated[
    int, typer.Option("--last", "-n", min=0, help="How many of the newest calls to print first.")
]
Agent = Annotated[str | None, typer.Option("--agent", help="Only calls of this agent: agent=NAME.")]
Where = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONDITION]...",
        help="agent=, tool=, outcome= or !=, since=, until=, log=, cost= > >= < or <=; all have to hold.",
    ),
]
CallArgument = Annotated[str, typer.Argument(metavar="CALL", help="The call's id.")]
TreeOf = Annotated[str | None, typer.Argument(metavar="CALL", help="Any call of the tree.")]
Task = Annotated[
    str | None,
    typer.Option("--task", help="All trees of a task, or of a transaction, instead of one call's."),
]
WithPayload = Annotated[
    bool, typer.Option("--payload", help="Show arguments and result instead. That you look is recorded.")
]
Reason = Annotated[str, typer.Option(help="Why you look; goes into the log. Needed with --payload.")]
_LOOK_S = 0.5
_OUTCOME_WIDTH = max(map(len, Outcome))
_STYLES = {
    "ok": "green",
    "pending_approval": "yellow",
    "tool_error": "yellow",
    "unknown": "yellow",
    "cancelled": "yellow",
}


@app.command()
def tail(
    ctx: typer.Context,
    where: Where = None,
    *,
    follow: Follow = False,
    last: Last = 20,
    agent: Agent = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The newest calls that fit, one a line, oldest first.

    For example: broker calls tail agent=researcher outcome!=ok since=2h 'cost>0.01'
    """
    from broker.edges.call_filter import parse_filter

    output = Output(as_json=as_json)
    named = [] if agent is None else [f"agent={agent}"]
    wanted = parse_filter([*(where or []), *named], now=time.time())

    async def told(office: Office) -> None:
        import anyio

        from broker.edges.cli.records import Tail

        calls = Tail(office.store.log, wanted)
        for call in await calls.newest(last):
            output.event(call, call_line(call, output.ink))
        while follow:
            await anyio.sleep(_LOOK_S)
            for call in await calls.since():
                output.event(call, call_line(call, output.ink))

    on_the_state(ctx, configured(config).settings, told)


@app.command()
def show(
    ctx: typer.Context,
    call: CallArgument,
    *,
    payload: WithPayload = False,
    reason: Reason = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Everything the log holds about one call; with --payload also what was said, which is recorded."""
    if payload:
        from broker.edges.cli.payload import show_payload

        return show_payload(ctx, call, reason, configured(config).settings, Output(as_json=as_json))
    from broker.edges.cli.records import story
    from broker.edges.records import LoggedRecord, call_records

    async def look(office: Office) -> list[LoggedRecord]:
        return await call_records(office.store.log, call)

    records = on_the_state(ctx, configured(config).settings, look)
    if not records:
        raise UnknownTarget(f"the log holds no call `{call}`", hint="`broker calls tail` shows the newest")
    output = Output(as_json=as_json)
    lines = [f"{output.ink('dim', f'{what:10}')} {visible(text)}" for what, text in story(records)]
    data = [{"log": r.log, "seq": r.seq, "leaf": r.leaf, "record": r.body} for r in records]
    output.item(data, "\n".join(lines))
    return None


@app.command()
def tree(
    ctx: typer.Context,
    call: TreeOf = None,
    *,
    task: Task = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Who called what for whom: the calls of one tree across agents, with chain, task, cost and outcome."""
    from broker.edges.call_tree import Node, tree_of, trees_of
    from broker.edges.cli.call_tree import lines

    if (call is None) == (task is None):
        raise InvalidRequest(
            "name a call or a task", hint="broker calls tree CALL, broker calls tree --task T"
        )

    async def look(office: Office) -> list[Node]:
        if task is not None:
            return await trees_of(office.store.log, task)
        whole = await tree_of(office.store.log, call or "")
        return [] if whole is None else [whole]

    roots = on_the_state(ctx, configured(config).settings, look)
    if not roots:
        what = f"call `{call}`" if task is None else f"call for the task `{task}`"
        raise UnknownTarget(f"the log holds no {what}", hint="`broker calls tail` shows the newest")
    output = Output(as_json=as_json)
    output.item([root.as_json() for root in roots], "\n".join(lines(roots, output.ink)))


def call_line(call: Json, ink: Ink) -> str:
    """A call on one line, in columns."""
    outcome = str(call["outcome"])
    micros = call["duration_us"]
    took = f"{micros / 1000:7.1f} ms" if isinstance(micros, int) else " " * 10
    cost = dollars(call["cost_micro_usd"]) if call["cost_micro_usd"] else ""
    parts = (
        str(call["ts"])[11:23],
        visible(f"{call['agent']:14} {call['name']:32}"),
        ink(_STYLES.get(outcome, "red"), f"{outcome:{_OUTCOME_WIDTH}}"),
        took,
        f"{cost:12}",
        ink("dim", str(call["call"])),
    )
    return " ".join(parts)
