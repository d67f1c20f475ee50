"""What waits for a human? `broker approvals` reads and decides beside the server."""

import os
import pwd
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.approvals.interface import Approval, ApprovalId
    from broker.approvals.judgement import Act
    from broker.consents import Consents
    from broker.model import Json
    from broker.settings import Settings

    Verb = Callable[[Consents], Callable[[ApprovalId, Act], Awaitable[Approval]]]

app = noun("Calls that wait for a human: list, show, approve, deny, revoke.")

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]
All = Annotated[bool, typer.Option("--all", help="Those that are over, too.")]
ForChain = Annotated[
    bool,
    typer.Option(
        "--for-chain",
        help="Agree to what this chain asks of this target in this transaction; needs --until.",
    ),
]
ForAgent = Annotated[
    bool,
    typer.Option(
        "--for-agent",
        help="Agree to what this chain asks of this target in any transaction; needs --until.",
    ),
]
Until = Annotated[str | None, typer.Option(metavar="DURATION", help="How long that holds, e.g. 30m, 8h, 7d.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the log, and with a denial to the agent.")]


@app.command("list")
def list_(ctx: typer.Context, *, all_: All = False, config: Config = None, as_json: AsJson = False) -> None:
    """What waits for an answer, and what was agreed to and still holds."""
    from broker.approvals.interface import OPEN, State
    from broker.edges.cli.approval_facts import COLUMNS, facts, row

    settings = configured(config).settings

    async def found(office: Office) -> "list[Approval]":
        return await _consents(office, settings).listed(tuple(State) if all_ else OPEN)

    approvals, now = on_the_state(ctx, settings, found), time.time()
    rows = [facts(one) if as_json else row(one, now) for one in approvals]
    Output(as_json=as_json).rows(COLUMNS, rows, empty="nothing waits for a human")


@app.command()
def show(ctx: typer.Context, approval: Id, config: Config = None, as_json: AsJson = False) -> None:
    """One approval: who wants to do what, for whom, why it is asked, and the arguments that will be sent."""
    from broker.approvals.interface import ApprovalId
    from broker.edges.cli.approval_facts import facts, story

    settings = configured(config).settings

    async def look(office: Office) -> "tuple[Approval, Json | None]":
        return await _consents(office, settings).shown(ApprovalId(approval))

    found, params = on_the_state(ctx, settings, look)
    Output(as_json=as_json).item(facts(found) | {"params": params}, story(found, params))


@app.command()
def approve(
    ctx: typer.Context,
    approval: Id,
    *,
    for_chain: ForChain = False,
    for_agent: ForAgent = False,
    until: Until = None,
    reason: Reason = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Agree: to this one call, or to more until a time. Takes effect at once, also for a call that waits."""
    from broker.approvals.interface import Reach
    from broker.edges.cli.durations import seconds
    from broker.errors import InvalidRequest

    if for_chain and for_agent:
        raise InvalidRequest("--for-agent includes --for-chain", hint="give one of them")
    reach = Reach.CHAIN if for_chain else Reach.AGENT if for_agent else Reach.CALL
    if (reach is Reach.CALL) != (until is None):
        raise InvalidRequest(
            "--until goes with --for-chain or --for-agent, and they with it",
            hint="e.g. --for-chain --until 30m; without both it is for this one call",
        )
    ends = None if until is None else int(time.time()) + seconds(until)
    act = _act(reason, reach=reach, until=ends)
    _decide(ctx, approval, act, lambda consents: consents.approve, config, as_json=as_json)


@app.command()
def deny(
    ctx: typer.Context, approval: Id, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Say no. The agent is told why, and nobody is asked about the same call for a while."""
    _decide(ctx, approval, _act(reason), lambda consents: consents.deny, config, as_json=as_json)


@app.command()
def revoke(
    ctx: typer.Context, approval: Id, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Take back what was agreed to, or withdraw the question: no call begins on it any more."""
    _decide(ctx, approval, _act(reason), lambda consents: consents.revoke, config, as_json=as_json)


def _act(reason: str, **agreement: Any) -> "Act":
    from broker.approvals.judgement import Act
    from broker.approvals.people import Human

    return Act(Human(_user()), reason=reason, **agreement)


def _user() -> str:
    """Who sits at this machine. The environment can name anybody, so only the system is asked."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container whose user has no name
        return f"uid-{uid}"


def _decide(
    ctx: typer.Context, approval: str, act: "Act", verb: "Verb", config: Path | None, *, as_json: bool
) -> None:
    from broker.approvals.interface import ApprovalId
    from broker.edges.cli.approval_facts import facts, standing

    settings = configured(config).settings

    async def decide(office: Office) -> "Approval":
        return await verb(_consents(office, settings))(ApprovalId(approval), act)

    decided = on_the_state(ctx, settings, decide)
    Output(as_json=as_json).item(facts(decided), f"{approval} is {standing(decided)}")


def _consents(office: Office, settings: "Settings") -> "Consents":
    from broker.approvals.people import read_people
    from broker.consents import Consents
    from broker.identity.seals import Sealer

    return Consents(
        office.store.approvals,
        office.store.signals,
        sealer=Sealer(office.keys.seal, *office.keys.retired_seals),
        digest_key=office.keys.digest,
        settings=settings.approvals,
        people=read_people(policies_of(settings)),
    )
