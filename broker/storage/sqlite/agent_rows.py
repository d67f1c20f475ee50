"""How does an agent lie in the file? Its row, written and read in one place."""

from collections.abc import Sequence
from typing import Any

import orjson

from broker.model import Agent, AgentId, AgentStatus, Attestation, Manifest, MicroUSD, OrganisationId

COLUMNS = (
    "id, organisation, roles, team, status, cap, owner, created_at, purpose, model, model_version,"
    " attributes, changed_at, attestation, manifest, attested_until, drift"
)
INSERT = f"insert into agent ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - made of constants
UPDATE = f"update agent set ({COLUMNS}) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) where id = ?"  # noqa: S608 - made of constants


def row_of(agent: Agent) -> tuple[int | str | None, ...]:
    """The values of `COLUMNS`."""
    return (
        agent.id,
        agent.organisation,
        orjson.dumps(sorted(agent.roles)).decode(),
        agent.team,
        agent.status.value,
        agent.cap_micro_usd,
        agent.owner,
        agent.created_at,
        agent.purpose,
        agent.model,
        agent.model_version,
        orjson.dumps(dict(agent.attributes), option=orjson.OPT_SORT_KEYS).decode(),
        agent.changed_at,
        agent.attestation.value,
        orjson.dumps(agent.manifest).decode() if agent.manifest else None,
        agent.manifest.not_after if agent.manifest and agent.attestation is Attestation.SIGNED else None,
        agent.drift,
    )


def agent_of(row: Sequence[Any]) -> Agent:
    """The agent in a row of `COLUMNS`."""
    return Agent(
        id=AgentId(row[0]),
        organisation=OrganisationId(row[1]),
        roles=frozenset(orjson.loads(row[2])),
        team=row[3],
        status=AgentStatus(row[4]),
        cap_micro_usd=None if row[5] is None else MicroUSD(row[5]),
        owner=row[6],
        created_at=row[7],
        purpose=row[8],
        model=row[9],
        model_version=row[10],
        attributes=orjson.loads(row[11]),
        changed_at=row[12],
        attestation=Attestation(row[13]),
        manifest=None if row[14] is None else Manifest(**orjson.loads(row[14])),
        drift=row[16],
    )
