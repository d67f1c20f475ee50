"""When was an agent last seen? Written with an intent that is committed anyway, at most once a minute."""

from broker.model import AgentId
from broker.storage.sqlite.connection import Connection

COARSE_S = 60


class Sightings:
    """Notes who began a call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: dict[AgentId, int] = {}

    def forget(self) -> None:
        """Believe the file again."""
        self._seen.clear()

    def note(self, agent_id: AgentId, now: int) -> None:
        """An agent begins a call at `now`, in Unix seconds."""
        if now - self._seen.get(agent_id, -COARSE_S) < COARSE_S:
            return
        self._seen[agent_id] = now
        self._connection.execute(
            "insert into agent_seen values (?, ?)"
            " on conflict (agent) do update set at = max(at, excluded.at)",
            (agent_id, now),
        )
