"""How do operators come and go? All that one transaction does to them."""

from collections.abc import Sequence
from typing import Any

import orjson

from broker.audit.interface import Entry
from broker.errors import Conflict, UnknownTarget
from broker.identity.operators import Operator, OperatorId, Right
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import Logs

COLUMNS = "id, rights, created_at, expires_at, revoked_at"


class OperatorBooks:
    """The writer's side of operators. Every operation runs within a transaction of the books."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    def add(self, operator: Operator, digest: bytes, entry: Entry) -> None:
        """See `OperatorKeeper.add`."""
        if self._connection.execute("select 1 from operator where id = ?", (operator.id,)).fetchone():
            raise Conflict(f"there is already an operator `{operator.id}`", hint="choose another id")
        self._logs.append(entry)
        rights = orjson.dumps(sorted(operator.rights)).decode()
        self._connection.execute(
            f"insert into operator ({COLUMNS}, digest) values (?, ?, ?, ?, null, ?)",  # noqa: S608 - made of constants
            (operator.id, rights, operator.created_at, operator.expires_at, digest),
        )

    def renew(self, operator_id: OperatorId, digest: bytes, expires_at: int, entry: Entry) -> None:
        """See `OperatorKeeper.renew`."""
        if self._is_revoked(operator_id):
            raise Conflict(f"`{operator_id}` is revoked for good", hint="add another operator")
        self._logs.append(entry)
        self._connection.execute(
            "update operator set digest = ?, expires_at = ? where id = ?", (digest, expires_at, operator_id)
        )

    def revoke(self, operator_id: OperatorId, now: int, entry: Entry) -> bool:
        """See `OperatorKeeper.revoke`."""
        if self._is_revoked(operator_id):
            return False
        self._logs.append(entry)
        self._connection.execute("update operator set revoked_at = ? where id = ?", (now, operator_id))
        return True

    def _is_revoked(self, operator_id: OperatorId) -> bool:
        row = self._connection.execute(
            "select revoked_at from operator where id = ?", (operator_id,)
        ).fetchone()
        if row is None:
            raise UnknownTarget(
                f"there is no operator `{operator_id}`", hint="`broker operator list` shows all operators"
            )
        return row[0] is not None


def operator_of(row: Sequence[Any]) -> Operator:
    """An operator from a row of `COLUMNS`."""
    return Operator(
        id=OperatorId(row[0]),
        rights=frozenset(map(Right, orjson.loads(row[1]))),
        created_at=row[2],
        expires_at=row[3],
        revoked_at=row[4],
    )
