"""What is handed to an auditor? The verb `broker evidence pack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.exports import range_of
from broker.edges.cli.kept import chosen_heads, past_keys, progress, signer_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest

if TYPE_CHECKING:
    from broker.audit.evidence.pack import Known
    from broker.model import Agent, Json
    from broker.settings import Settings

app = noun("Evidence for auditors: pack.")

Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="A new .zip.")]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Of the first record (RFC 3339).")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Of the last record.")]
Org = Annotated[
    str | None,
    typer.Option("--org", help="Only this organisation's log, without the one of the deployment."),
]


@app.command()
def pack(
    ctx: typer.Context,
    *,
    out: Out,
    start: From = None,
    end: To = None,
    org: Org = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write a signed zip: records, controls, oversight, incidents, spend, a report, and verify.py.

    It says what is evidence for which requirement, never that one is met. Nothing of what was said in
    calls is in it. `python3 -I verify.py FILE` checks it with Python alone.
    """
    from broker.audit.evidence.pack import pack as packed
    from broker.audit.export import target
    from broker.audit.publisher import newest_note

    if out.suffix != ".zip":
        raise InvalidRequest(f"`{out}` is no name of a zip", hint="let it end with .zip")
    for text in (start, end):
        if text is not None and text.isdecimal():
            raise InvalidRequest(f"`{text}` is not a time", hint="2026-01-31T12:00:00Z is one")
    wanted, settings = range_of(start, end, None), configured(config).settings

    async def work(office: Office) -> dict[str, int]:
        heads = await chosen_heads(office, org)
        if not heads:
            raise InvalidRequest("there is no record yet", hint="`broker serve` begins the log")
        heads.sort(key=lambda head: head.name != "system")
        signer = signer_of(office)
        signed = [(head, await newest_note(office.store.log, signer, head)) for head in heads]
        agents = [a for a in await _agents(office) if org in (None, a.organisation)]
        known = _known(settings, agents, org)
        with progress() as told:
            return await packed(
                office.store.log,
                signed,
                target(out),
                signer=signer,
                wanted=wanted,
                known=known,
                past=past_keys(office),
                progress=told,
            )

    counts = on_the_state(ctx, settings, work)
    lines = [f"{count:>7} {name}" for name, count in counts.items()]
    data = {"out": str(out), "entries": counts}
    Output(as_json=as_json).item(data, "\n".join([*lines, f"packed in {out}"]))


async def _agents(office: Office) -> "list[Agent]":
    """All agents, by id."""
    from broker.identity.interface import AgentFilter

    return list(await office.store.agents.agents(AgentFilter()))


def _known(settings: "Settings", agents: "list[Agent]", organisation: str | None) -> "Known":
    from broker.audit.evidence.pack import Known
    from broker.policy.engine import PolicyEngine
    from broker.policy_records import texts_of

    folder = policies_of(settings)
    return Known(
        deployment=settings.deployment,
        organisation=organisation,
        agents=[_agent(agent) for agent in agents],
        policies={"version": PolicyEngine(folder).version, "files": texts_of(folder)},
        art30=_art30(settings, agents),
    )


def _agent(agent: "Agent") -> "Json":
    return {
        "agent": agent.id,
        "organisation": agent.organisation,
        "team": agent.team,
        "owner": agent.owner,
        "status": agent.status,
        "roles": sorted(agent.roles),
        "purpose": agent.purpose,
        "model": agent.model,
        "model_version": agent.model_version,
        "attestation": agent.attestation,
        "manifest": agent.manifest is not None,
        "drift": agent.drift,
        "created_at": agent.created_at,
        "cap_micro_usd": agent.cap_micro_usd,
    }


def _art30(settings: "Settings", agents: "list[Agent]") -> "Json":
    """The register of processing (GDPR 30(1)); null is what only the controller knows."""
    return {
        "controller": None,
        "legal_basis": None,
        "purposes": sorted({agent.purpose for agent in agents if agent.purpose}),
        "categories_of_people": None,
        "categories_of_data": ["records of calls", "arguments and results, encrypted"]
        if settings.audit.payloads == "keep"
        else ["records of calls"],
        "recipients": [
            {"connector": name, "kind": section.use, "country": None}
            for name, section in sorted(settings.connectors.items())
        ],
        "erased_after_days": {
            "payloads": settings.audit.payload_days,
            "records": settings.audit.record_days,
        },
        "security_measures": ["encryption per record", "signed log", "policies", "guards", "budgets"],
    }
