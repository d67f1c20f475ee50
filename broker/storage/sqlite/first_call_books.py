"""Which idempotency keys are taken? The writer's side: taken with an intent, ended with its call."""

from broker.idempotency import Claim, Ending, First, State, check, in_use
from broker.storage.sqlite.connection import Connection

_FIND = (
    "select call, fingerprint, state, sealed from first_call"
    " where id = ? and (state = 'open' or expires_at > ?)"
)


class FirstCallBooks:
    """Every operation runs inside a transaction of the books."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._run = connection.execute

    def check(self, claim: Claim, now: int) -> None:
        """Refuse a key that is taken; `now` is Unix time in seconds.

        Raises:
            InvalidRequest: it came with another call before. Conflict: with this one.
        """
        first = find(self._connection, claim.id, now)
        if first is not None:
            check(first, claim.fingerprint)
            raise in_use(first.call)  # it has ended since this call was judged

    def take(self, claim: Claim, call: str, now: int) -> None:
        """Let a call have a key that was checked, and forget those that have expired."""
        self._run("delete from first_call where expires_at <= ? and state <> 'open'", (now,))
        self._run(
            "insert into first_call values (?, ?, ?, ?, ?, null, 0, ?)",
            (claim.id, claim.agent, call, claim.fingerprint, State.OPEN.value, claim.expires_at),
        )

    def end(self, call: str, ending: Ending) -> None:
        """Say what the key of a call is worth from now on. A call without a key changes nothing."""
        if ending.state is None:
            self._run("delete from first_call where call = ?", (call,))
            return
        sealed = ending.sealed
        if sealed is not None and self._kept(call) + len(sealed) > ending.room:
            sealed = None
        self._run(
            "update first_call set state = ?, sealed = ?, bytes = ? where call = ?",
            (ending.state.value, sealed, len(sealed or ""), call),
        )

    def _kept(self, call: str) -> int:
        row = self._run(
            "select coalesce(sum(bytes), 0) from first_call"
            " where agent = (select agent from first_call where call = ?)",
            (call,),
        ).fetchone()
        return int(row[0]) if row else 0


def find(connection: Connection, claim: bytes, now: int) -> First | None:
    """The first call under a key, unless it has expired."""
    row = connection.execute(_FIND, (claim, now)).fetchone()
    return None if row is None else First(row[0], row[1], State(row[2]), row[3])
