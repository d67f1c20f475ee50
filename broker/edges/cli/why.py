"""Why may this agent not do that? `broker why` asks the policies. It makes no call and needs no server."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.call import Arguments, parsed
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import Policies, folder_of, known_targets, target_of
from broker.edges.cli.why_answer import about_target, data, told
from broker.edges.cli.why_question import principal_of_names, principal_of_token, situation_of
from broker.errors import InvalidRequest, UnknownTarget
from broker.model import Attestation, Json, Kind

if TYPE_CHECKING:
    from broker.circumstances import Recalled
    from broker.policy.explain import Explanation
    from broker.policy.interface import Decision
    from broker.policy.question import Question
    from broker.settings import Settings

app = noun("Why may an agent make a call, or why not? Makes no call.", single=True)

REFUSED = 3

What = Annotated[
    str, typer.Argument(metavar="TOOL|CALL", help="A target by its exposed name, or the id of a call.")
]
Who = Annotated[str | None, typer.Option("--as", metavar="AGENT", help="An enrolled agent.")]
TokenFile = Annotated[
    str | None,
    typer.Option("--token-file", metavar="PATH", help="File with an access token, - for standard input."),
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", "-r", help="A made-up agent with this role; may be repeated.")
]
Team = Annotated[str | None, typer.Option(help="The made-up agent's team.")]
Level = Annotated[Attestation, typer.Option(help="The made-up agent's attestation.")]
ChainOf = Annotated[
    list[str] | None,
    typer.Option(
        "--chain", metavar="AGENT", help="Who delegated, nearest first: an agent, or role:NAME[,NAME]."
    ),
]
KindOf = Annotated[Kind, typer.Option("--kind", help="What is called.")]
Taint = Annotated[
    list[str] | None, typer.Option("--taint", metavar="LABEL", help="What the transaction has read.")
]
Provenance = Annotated[
    list[str] | None,
    typer.Option("--provenance", metavar="ARGUMENT=ORIGIN", help="Where a value was first seen."),
]
Counter = Annotated[
    list[str] | None,
    typer.Option("--counter", metavar="NAME=N", help="What the transaction has done, this call included."),
]
Trust = Annotated[int, typer.Option(min=0, max=1000, help="The lowest score in the chain.")]
Approved = Annotated[
    list[str] | None, typer.Option("--approved", metavar="RULE", help="A rule for which a human has agreed.")
]
Hour = Annotated[int | None, typer.Option(min=0, max=23, help="The hour of the day, UTC [now].")]


@app.command()
def why(
    ctx: typer.Context,
    what: What,
    arguments: Arguments = None,
    *,
    agent: Who = None,
    token_file: TokenFile = None,
    roles: Roles = None,
    team: Team = None,
    attestation: Level = Attestation.REGISTERED,
    chain: ChainOf = None,
    kind: KindOf = Kind.TOOL,
    taint: Taint = None,
    provenance: Provenance = None,
    counter: Counter = None,
    trust: Trust = 1000,
    approved: Approved = None,
    hour: Hour = None,
    policies: Policies = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Decide a call without making it, and say what every rule says of it. Exits with 3 if it is refused."""
    from broker.policy.question import Question, params_of

    settings = configured(config).settings
    folder = folder_of(policies, settings)
    output = Output(as_json=as_json)
    if _is_call(what) and not (agent or token_file or roles):
        _why_recorded(ctx, settings, folder, what, output)
        return
    if sum(map(bool, (agent, token_file, roles))) != 1:
        raise InvalidRequest("who asks?", hint="name one: --as AGENT, --token-file PATH or --role ROLE")
    if token_file:
        principal = principal_of_token(ctx, settings, token_file)
    else:
        principal = principal_of_names(
            ctx, settings, agent, chain or (), roles=roles or (), team=team, attestation=attestation
        )
    known = known_targets(settings, folder)
    target = target_of(known, folder)(kind, what)
    given = parsed(arguments or [], target.definition.get("inputSchema"))
    situation = situation_of(taint, provenance, counter, trust=trust, approved=approved)
    at = time.gmtime().tm_hour if hour is None else hour
    question = Question(principal, target, params_of(target, given), situation, hour=at)
    explained = _explained(folder, question)
    output.item(data(explained), "\n".join([*told(explained, output.ink), *about_target(question, known)]))
    if not explained.decision.permitted:
        raise typer.Exit(REFUSED)


def _explained(folder: Path, question: "Question") -> "Explanation":
    from broker.policy.engine import PolicyEngine
    from broker.policy.explain import explain

    engine = PolicyEngine(folder, clock=lambda: question.hour * 3600.0)
    engine.retarget([question.target])
    return explain(engine, question)


def _is_call(what: str) -> bool:
    try:
        return str(UUID(what)) == what
    except ValueError:
        return False


def _why_recorded(ctx: typer.Context, settings: "Settings", folder: Path, call: str, output: Output) -> None:
    """What the policies say now about a call of the log, with what the decision looked at then."""
    from broker.policy.question import Question

    past = _recalled(ctx, settings, call)
    question = Question(past.principal, past.target, past.params, past.situation, hour=int(past.at[11:13]))
    explained = _explained(folder, question)
    verdict = "permitted" if past.permitted else "held for a human" if past.asked else "refused"
    rules = ", ".join(f"`{rule}`" for rule in sorted(past.rules)) or "no rule"
    lines = [
        f"recorded   {past.at} {verdict} by {rules}  (policy {past.policy[:19]})",
        f"policies   {_same(past, explained.decision)}",
        *(f"not known  the value of `{name}`: it is not in the log" for name in sorted(past.unrecorded)),
        "",
        *told(explained, output.ink),
    ]
    recorded: Json = {
        "call": past.call,
        "at": past.at,
        "permitted": past.permitted,
        "rules": sorted(past.rules),
        "policy": past.policy,
        "unrecorded": sorted(past.unrecorded),
    }
    output.item({"recorded": recorded, **data(explained)}, "\n".join(lines))
    if not explained.decision.permitted:
        raise typer.Exit(REFUSED)


def _same(past: "Recalled", now: "Decision") -> str:
    if past.policy == now.policy:
        return "the same as then"
    return f"others than then: what follows is by {now.policy[:19]}"


def _recalled(ctx: typer.Context, settings: "Settings", call: str) -> "Recalled":
    from broker.circumstances import recalled
    from broker.edges.records import LoggedRecord, call_records

    async def look(office: Office) -> list[LoggedRecord]:
        return await call_records(office.store.log, call)

    records = on_the_state(ctx, settings, look)
    if not records:
        raise UnknownTarget(f"the log holds no call `{call}`", hint="`broker calls tail` shows the newest")
    past = recalled(records[0].body)
    if past is None:
        raise InvalidRequest(
            f"the record of `{call}` holds no decision",
            hint="it named what did not exist for the agent, or is older: see `broker calls show`",
        )
    return past
