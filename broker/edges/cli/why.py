"""Why may this agent not do that? `broker why` asks the policies. It makes no call and needs no server."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.call import Arguments, parsed
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars
from broker.edges.cli.policy_folder import Known, Policies, folder_of, known_targets, target_of
from broker.errors import ConfigurationError, InvalidRequest, UnknownTarget
from broker.model import Agent, AgentId, Attestation, Json, Kind, Origin, Principal, Situation

if TYPE_CHECKING:
    from broker.circumstances import Recalled
    from broker.policy.explain import Explanation, Word
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
    from broker.policy.question import Question, chain_of, hypothetical, params_of

    settings = configured(config).settings
    folder = folder_of(policies, settings)
    output = Output(as_json=as_json)
    if _is_call(what) and not (agent or token_file or roles):
        _why_recorded(ctx, settings, folder, what, output)
        return
    if sum(map(bool, (agent, token_file, roles))) != 1:
        raise InvalidRequest("who asks?", hint="name one: --as AGENT, --token-file PATH or --role ROLE")
    if token_file:
        principal = _principal(ctx, settings, token_file)
    else:
        made_up = hypothetical("somebody", frozenset(roles or ()), team=team, attestation=attestation)
        names = ([agent] if agent else []) + list(chain or ())
        known_agents = _agents(ctx, settings, [name for name in names if not name.startswith("role:")])
        actors = [known_agents[agent] if agent else made_up]
        actors += [_in_chain(name, known_agents) for name in chain or ()]
        principal = chain_of(actors)
    known = known_targets(settings, folder)
    target = target_of(known, folder)(kind, what)
    given = parsed(arguments or [], target.definition.get("inputSchema"))
    question = Question(
        principal=principal,
        target=target,
        params=params_of(target, given),
        situation=Situation(
            taint=frozenset(taint or ()),
            provenance={name: _origin(value) for name, value in _pairs(provenance)},
            counters={name: _whole(value) for name, value in _pairs(counter)},
            trust=trust,
            approved=frozenset(approved or ()),
        ),
        hour=time.gmtime().tm_hour if hour is None else hour,
    )
    explained = _explained(folder, question)
    output.item(
        _data(explained), "\n".join([*_lines(explained, output.ink), *_about_target(question, known)])
    )
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
        *_lines(explained, output.ink),
    ]
    recorded: Json = {
        "call": past.call,
        "at": past.at,
        "permitted": past.permitted,
        "rules": sorted(past.rules),
        "policy": past.policy,
        "unrecorded": sorted(past.unrecorded),
    }
    output.item({"recorded": recorded, **_data(explained)}, "\n".join(lines))
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


def _principal(ctx: typer.Context, settings: "Settings", path: str) -> Principal:
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


_VERDICTS = {"allow": "green", "needs_approval": "yellow", "deny": "red", "hidden": "red"}
_MEANS = {
    "allow": "allowed",
    "deny": "denied",
    "needs_approval": "needs approval",
    "hidden": "denied, and hidden",
}


def _lines(explained: "Explanation", ink: Ink) -> Iterator[str]:
    decision, question = explained.decision, explained.question
    chain = " for ".join(f"`{actor.id}`" for actor in question.principal.actors)
    verdict = ink(_VERDICTS[explained.verdict], _MEANS[explained.verdict])
    yield f"{verdict}: {visible(chain)} calling `{visible(question.target.name)}`"
    yield from _list("decided by", [f"{b.rule}  {b.text}" for b in decision.because], ink)
    yield from _list("on terms", _terms(decision), ink)
    yield from _list("would change", list(explained.changes), ink)
    yield from _list("applies", [_word(word) for word in explained.deciding], ink)
    yield from _list("does not apply", [_word(word) for word in explained.ignored], ink)


def _list(title: str, items: Sequence[str], ink: Ink) -> Iterator[str]:
    if items:
        yield ""
        yield ink("bold", title)
        yield from (f"  {visible(item)}" for item in items)


def _word(word: "Word") -> str:
    shadow = "shadow, " if word.rule.shadow else ""
    said = word.why or f"{word.says} it: {word.rule.reason}"
    return f"{word.rule.id}  {word.rule.place}  ({shadow}{word.actor.id}) {said}"


def _terms(decision: "Decision") -> list[str]:
    terms = decision.obligations
    found = [] if terms.max_cost is None else [f"it may cost at most {dollars(terms.max_cost)}"]
    found += [f"`{path}` is taken out of the result" for path in sorted(terms.redact)]
    found += ["the result is marked as made by an agent"] if terms.watermark else []
    if decision.shadow is not None:
        rules = ", ".join(f"`{because.rule}`" for because in decision.shadow.because)
        found.append(f"{rules} in the shadow would {'permit' if decision.shadow.permitted else 'refuse'} it")
    return found


def _about_target(question: "Question", known: Known) -> Iterator[str]:
    target = question.target
    if (target.kind, target.name) not in known.by_name:
        yield ""
        yield f"`{visible(target.name)}` is not offered by anything that is known here ({known.said});"
        yield "it was judged by what your `tools/*.yaml` say of it"


def _data(explained: "Explanation") -> Json:
    decision = explained.decision
    terms = decision.obligations
    return {
        "verdict": explained.verdict,
        "permitted": decision.permitted,
        "because": [{"rule": b.rule, "text": b.text} for b in decision.because],
        "policy": decision.policy,
        "obligations": {
            "max_cost_micro_usd": terms.max_cost,
            "redact": sorted(terms.redact),
            "watermark": terms.watermark,
        },
        "consents": [{"rule": c.rule, "approver": c.approver, "text": c.text} for c in decision.consents],
        "shadow": None if decision.shadow is None else {"permitted": decision.shadow.permitted},
        "changes": list(explained.changes),
        "rules": [
            {
                "rule": word.rule.id,
                "place": word.rule.place,
                "actor": word.actor.id,
                "says": word.says,
                "why": word.why,
                "shadow": word.rule.shadow,
            }
            for word in explained.words
        ],
    }
