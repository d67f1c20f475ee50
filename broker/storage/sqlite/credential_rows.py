"""When do credentials end: those of agents, and the broker's own keys? For readers and the writer alike."""

from broker.identity.interface import FOREVER, AgentKey, KeyAddress, KeyUse, Secret
from broker.model import AgentId
from broker.storage.sqlite.connection import Connection


def credential_ends(connection: Connection, agent_id: AgentId) -> dict[str, int]:
    """When each credential of an agent ends, in Unix seconds, by its id."""
    run, named = connection.execute, (agent_id,)
    secrets = run("select digest, created_at, not_after, launch from agent_secret where agent = ?", named)
    keys = run("select kid, jwk, created_at from agent_key where agent = ?", named)
    addresses = run("select url, created_at from agent_jwks where agent = ?", named)
    ends = {secret.id: _end(secret.not_after) for secret in [Secret(*row) for row in secrets]}
    ends |= dict.fromkeys((AgentKey(*row).id for row in keys), FOREVER)
    return ends | dict.fromkeys((KeyAddress(*row).id for row in addresses), FOREVER)


def signing_key_ends(connection: Connection) -> dict[str, int]:
    """Until when what each key of the broker has signed is accepted, in Unix seconds, by its kid."""
    rows = connection.execute("select kid, not_after from broker_key where use = ?", (KeyUse.TOKENS.value,))
    return {kid: _end(not_after) for kid, not_after in rows}


def _end(not_after: int | None) -> int:
    return FOREVER if not_after is None else not_after
