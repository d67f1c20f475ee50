"""How is authority handed on and taken back? All that one transaction does to grants."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from broker.audit.interface import Entry
from broker.errors import Denied, UnknownTarget
from broker.model import AgentId, CallId, Grant, GrantId, MicroUSD, OrganisationId, ToolLimit
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import MICRO, Logs

COLUMNS = (
    "id, parent, organisation, subject, by_agent, to_agent, depth, max_depth, txn, expires_at, created_at,"
    " task, purpose, call, limits, cap, max_calls, revoked_at, credential"
)
KEPT_S = 86400
"""How long a hop is kept after it has expired, in seconds: longer than any call under it may run. The log
keeps what it was.
"""
_ROW = ", ".join("?" * 19)
_SUBTREE = (
    "with recursive down(hop) as (select ? union all"
    " select d.id from down join delegation d on d.parent = down.hop)"
    " select id from delegation where id in (select hop from down) and revoked_at is null order by depth, id"
)


class GrantBooks:
    """The writer's side of grants. Every operation runs within a transaction of the books."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    def delegate(self, grant: Grant, entry: Entry) -> None:
        """See `GrantKeeper.delegate`."""
        if grant.parent is not None and not self._stands(grant.parent):
            raise Denied("the delegation that this one would follow from has been revoked")
        self._logs.append(entry)
        self._prune()
        self._connection.execute(
            f"insert into delegation ({COLUMNS}) values ({_ROW})",  # noqa: S608 - made of constants
            _row(grant),
        )

    def revoke(self, grant_id: GrantId, entry: Callable[[Grant, Sequence[GrantId]], Entry]) -> int:
        """See `GrantKeeper.revoke`."""
        sql = f"select {COLUMNS} from delegation where id = ?"  # noqa: S608 - made of constants
        row = self._connection.execute(sql, (grant_id,)).fetchone()
        if row is None:
            raise UnknownTarget(f"there is no delegation `{grant_id}`")
        standing = [GrantId(found[0]) for found in self._connection.execute(_SUBTREE, (grant_id,))]
        if standing:
            self._logs.append(entry(grant_of(row), standing))
            self._connection.executemany(
                "update delegation set revoked_at = ? where id = ?",
                [(self._logs.now // MICRO, grant) for grant in standing],
            )
        return len(standing)

    def _prune(self) -> None:
        """Forget hops that expired long ago. None below them is left: no hop outlives the one above it."""
        before = (self._logs.now // MICRO - KEPT_S,)
        run = self._connection.execute
        if run("select 1 from delegation where expires_at < ? limit 1", before).fetchone() is None:
            return
        run(
            "delete from budget where account in"
            " (select 'calls:' || id from delegation where expires_at < ? and max_calls is not null)",
            before,
        )
        run("delete from delegation where expires_at < ?", before)

    def _stands(self, grant_id: GrantId) -> bool:
        row = self._connection.execute(
            "select revoked_at from delegation where id = ?", (grant_id,)
        ).fetchone()
        return row is not None and row[0] is None


def _row(grant: Grant) -> tuple[int | str | None, ...]:
    limits = None if grant.limits is None else [(one.match, dict(one.arguments)) for one in grant.limits]
    return (
        grant.id,
        grant.parent,
        grant.organisation,
        grant.subject,
        grant.by,
        grant.to,
        grant.depth,
        grant.max_depth,
        grant.transaction,
        grant.expires_at,
        grant.created_at,
        grant.task,
        grant.purpose,
        grant.call,
        None if limits is None else orjson.dumps(limits).decode(),
        grant.cap_micro_usd,
        grant.max_calls,
        grant.revoked_at,
        grant.credential,
    )


def grant_of(row: Sequence[Any]) -> Grant:
    """A hop from a row of `COLUMNS`."""
    limits = (
        None
        if row[14] is None
        else tuple([ToolLimit(match, arguments) for match, arguments in orjson.loads(row[14])])
    )
    return Grant(
        id=GrantId(row[0]),
        parent=None if row[1] is None else GrantId(row[1]),
        organisation=OrganisationId(row[2]),
        subject=AgentId(row[3]),
        by=AgentId(row[4]),
        to=AgentId(row[5]),
        depth=row[6],
        max_depth=row[7],
        transaction=row[8],
        expires_at=row[9],
        created_at=row[10],
        task=row[11],
        purpose=row[12],
        call=None if row[13] is None else CallId(row[13]),
        limits=limits,
        cap_micro_usd=None if row[15] is None else MicroUSD(row[15]),
        max_calls=row[16],
        revoked_at=row[17],
        credential=row[18],
    )
