"""What has been asked of humans? `ApprovalKeeper` on one file."""

from collections.abc import Callable, Collection, Sequence

import apsw
import orjson

from broker.approvals.interface import Approval, ApprovalId, State
from broker.approvals.judgement import Verdict
from broker.audit.interface import Entry
from broker.consents import Judge
from broker.model import AgentId, Clock
from broker.storage.sqlite.approval_rows import COLUMNS, approval_of
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

_SELECT = f"select {COLUMNS} from approval"  # noqa: S608 - made of constants
_DUE = (
    "select exists (select 1 from approval where state in ('pending', 'approved') and expires_at <= ?)"
    " or exists (select 1 from approval where state in ('denied', 'used', 'expired', 'revoked')"
    " and expires_at <= ?)"
)


class SqliteApprovals:
    """`ApprovalKeeper` on one file; reads on the event loop, microseconds each."""

    def __init__(self, writer: Writer, reader: Connection, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    async def approval(self, approval_id: ApprovalId) -> Approval | None:
        """See `ApprovalReader`."""
        found = self._where("id = ?", approval_id)
        return found[0] if found else None

    async def approvals(self, states: Collection[State]) -> Sequence[Approval]:
        """See `ApprovalReader`."""
        return self._where("state in (select value from json_each(?))", orjson.dumps(list(states)).decode())

    async def lasting(self, agent: AgentId) -> Sequence[Approval]:
        """See `ApprovalReader`."""
        found = self._where("state in ('pending', 'approved', 'denied') and agent = ?", agent)
        return found[::-1]

    async def sealed(self, approval_id: ApprovalId) -> str | None:
        """See `ApprovalReader`."""
        try:
            row = self._reader.execute("select sealed from approval where id = ?", (approval_id,)).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return None if row is None else row[0]

    async def ask(
        self, wanted: Approval, sealed: str, entry: Entry, most: int, expired: Callable[[Approval], Entry]
    ) -> Approval:
        """See `ApprovalKeeper`."""
        return await self._writer.run(lambda books: books.approvals.ask(wanted, sealed, entry, most, expired))

    async def judge(
        self, approval_id: ApprovalId, judge: Judge, entry: Callable[[Approval, Verdict], Entry]
    ) -> Verdict:
        """See `ApprovalKeeper`."""
        return await self._writer.run(lambda books: books.approvals.judge(approval_id, judge, entry))

    async def lapse(self, entry: Callable[[Approval], Entry], kept_s: int) -> int:
        """See `ApprovalKeeper`. Where nothing is due nothing is written."""
        now = int(self._clock())
        try:
            due: int = self._reader.execute(_DUE, (now, now - kept_s)).get
        except apsw.Error as error:
            raise unavailable(error) from error
        return await self._writer.run(lambda books: books.approvals.lapse(entry, kept_s)) if due else 0

    def _where(self, condition: str, value: str) -> list[Approval]:
        try:
            rows = self._reader.execute(f"{_SELECT} where {condition}", (value,))
            found = [approval_of(row) for row in rows]
        except apsw.Error as error:
            raise unavailable(error) from error
        return sorted(found, key=lambda approval: (approval.requested_at, approval.id))
