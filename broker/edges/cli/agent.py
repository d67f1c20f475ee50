"""Which agents are there, and how does one get in? `broker agent …` works on the state, server or not."""

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli import agent_attest, agent_file, agent_key, agent_launch, agent_record
from broker.edges.cli.agent_facts import (
    COLUMNS,
    hand_over,
    kept,
    known,
    row,
    warn_of_unknown_roles,
)
from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.durations import seconds
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars
from broker.errors import InvalidRequest
from broker.identity.records import micro_usd, name_of, text_of
from broker.model import Agent, AgentId, AgentStatus, OrganisationId

if TYPE_CHECKING:
    from broker.ledger.interface import Balance

app = noun("Agents: enrol them, change them, stop them; a file of them: plan, apply; their keys: key.")
app.add_typer(agent_key.app, name="key")

Name = Annotated[str, typer.Argument(help="The agent's id, which is also its OAuth client id.")]
Roles = Annotated[list[str], typer.Option("--role", "-r", help="A role of the policies; may be repeated.")]
Organisation = Annotated[
    str, typer.Option("--organisation", "--org", help="Whose log, budgets and policies.")
]
Team = Annotated[str | None, typer.Option(help="Team within the organisation.")]
Cap = Annotated[str | None, typer.Option(metavar="USD", help="What it may spend in total [no cap].")]
Owner = Annotated[str | None, typer.Option(help="Who answers for it.")]
Purpose = Annotated[str | None, typer.Option(help="What it is for.")]
Model = Annotated[str | None, typer.Option(help="The model it runs on.")]
ModelVersion = Annotated[str | None, typer.Option(help="The version of that model.")]
NewSecret = Annotated[
    Path | None, typer.Option("--secret-file", help="Write the secret there (mode 0600), do not print it.")
]
NoSecret = Annotated[
    bool, typer.Option("--no-secret", help="Make no secret: it is launched, has a key, or is federated.")
]
Grace = Annotated[str, typer.Option(metavar="DURATION", help="How long the old secrets still work.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the log.")]


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    *,
    roles: Roles,
    organisation: Organisation = "default",
    team: Team = None,
    cap: Cap = None,
    owner: Owner = None,
    purpose: Purpose = None,
    model: Model = None,
    model_version: ModelVersion = None,
    secret_file: NewSecret = None,
    no_secret: NoSecret = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Enrol an agent. Its secret is shown once and kept nowhere."""
    from broker.identity.clients import digest, new_secret

    agent = Agent(
        id=AgentId(name_of(name)),
        organisation=OrganisationId(name_of(organisation)),
        roles=frozenset(roles),
        team=team,
        cap_micro_usd=micro_usd(cap) if cap is not None else None,
        owner=owner or getpass.getuser(),
        created_at=int(time.time()),
        purpose=text_of(purpose or ""),
        model=text_of(model or ""),
        model_version=text_of(model_version or ""),
    )
    if no_secret and secret_file is not None:
        raise InvalidRequest("a file for a secret that is not made", hint="leave out one of the two options")
    loaded = configured(config)
    output, secret = Output(as_json=as_json), new_secret()

    async def enrol(office: Office) -> None:
        known_by = None if no_secret else digest(secret)
        await office.journal.enrol(agent, known_by, by=getpass.getuser())

    with kept(secret, secret_file):
        on_the_state(ctx, loaded.settings, enrol, create=True)
    if no_secret:
        output.item(row(agent) | {"client_id": agent.id}, f"client id      {agent.id}")
        output.note(f"it has no secret: `broker agent launch {agent.id}` starts it, or give it a key")
    else:
        hand_over(agent, secret, secret_file, output)
    warn_of_unknown_roles(policies_of(loaded.settings), agent.roles, output)


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """All agents."""

    async def agents(office: Office) -> list[Agent]:
        return list(await office.store.agents.agents())

    found = on_the_state(ctx, configured(config).settings, agents)
    Output(as_json=as_json).rows(
        COLUMNS, [row(agent) for agent in found], empty="no agents yet: `broker agent add NAME --role ROLE`"
    )


@app.command()
def show(ctx: typer.Context, name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """One agent, with what it has spent."""

    async def look(office: Office) -> "tuple[Agent, Balance, int | None]":
        agent = await known(office, name)
        seen = await office.store.agents.last_seen(agent.id)
        return agent, await office.store.ledger.balance(f"agent:{name}"), seen

    agent, balance, seen = on_the_state(ctx, configured(config).settings, look)
    facts = row(agent) | {
        "purpose": agent.purpose,
        "model": agent.model,
        "model_version": agent.model_version,
        "attributes": dict(agent.attributes),
        "attestation": agent.attestation,
        "manifest": agent.manifest.digest if agent.manifest else None,
        "created": _time(agent.created_at),
        "changed": _time(agent.changed_at),
        "last_seen": _time(seen),
        "spent": dollars(balance.spent),
        "held": dollars(balance.held),
    }
    attributes = ", ".join(f"{key}={value}" for key, value in agent.attributes.items())
    shown = facts | {"roles": ", ".join(sorted(agent.roles)), "attributes": attributes or None}
    text = "\n".join(f"{key:13} {'-' if value is None else value}" for key, value in shown.items())
    exact = {"spent_micro_usd": balance.spent, "held_micro_usd": balance.held}
    Output(as_json=as_json).item(facts | exact, text)


app.command("set")(agent_record.set_)
app.command()(agent_record.history)
app.command()(agent_attest.attest)
app.command()(agent_launch.launch)
app.command()(agent_file.plan)
app.command("apply")(agent_file.apply_)


@app.command()
def rotate(
    ctx: typer.Context,
    name: Name,
    *,
    grace: Grace = "24h",
    secret_file: NewSecret = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give an agent a new secret. It is shown once; the old ones work until the grace is over."""
    from broker.identity.clients import digest, new_secret

    output, secret, now = Output(as_json=as_json), new_secret(), int(time.time())
    until = now + seconds(grace)

    async def renew(office: Office) -> Agent:
        agent = await known(office, name)
        await office.credentials.rotate_secret(
            agent.id, digest(secret), now=now, until=until, by=getpass.getuser()
        )
        return agent

    with kept(secret, secret_file):
        agent = on_the_state(ctx, configured(config).settings, renew)
    hand_over(agent, secret, secret_file, output)
    output.note(f"older secrets are refused from {datetime.fromtimestamp(until, UTC).isoformat()}")


@app.command()
def suspend(
    ctx: typer.Context, name: Name, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Stop an agent: it and all it has delegated is refused from now on, calls in flight are cancelled."""
    _change(ctx, name, AgentStatus.SUSPENDED, reason, config, as_json=as_json)


@app.command()
def resume(
    ctx: typer.Context, name: Name, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Let a suspended agent act again."""
    _change(ctx, name, AgentStatus.ACTIVE, reason, config, as_json=as_json)


@app.command()
def revoke(
    ctx: typer.Context, name: Name, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Stop an agent for good: it can never be resumed, and its name stays taken."""
    _change(ctx, name, AgentStatus.REVOKED, reason, config, as_json=as_json)


def _time(at: int | None) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat() if at else None


def _change(
    ctx: typer.Context, name: str, status: AgentStatus, reason: str, config: Path | None, *, as_json: bool
) -> None:
    async def change(office: Office) -> None:
        await office.journal.set_status(AgentId(name), status, by=getpass.getuser(), reason=reason)

    on_the_state(ctx, configured(config).settings, change)
    Output(as_json=as_json).item({"agent": name, "status": status}, f"{name} is {status}")
