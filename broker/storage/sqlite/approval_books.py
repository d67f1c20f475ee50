"""What does one transaction do to approvals? The writer's side of them."""

from collections.abc import Callable
from dataclasses import replace

import orjson

from broker.approvals.answers import unknown
from broker.approvals.interface import Approval, ApprovalId, State
from broker.approvals.judgement import Verdict, check_usable
from broker.audit.interface import Entry
from broker.consents import Judge
from broker.errors import Denied
from broker.storage.sqlite.approval_rows import COLUMNS, approval_of, row_of
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import MICRO, Logs

_INSERT = f"insert into approval ({COLUMNS}, sealed) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - made of constants
_ONE = f"select {COLUMNS} from approval where id = ?"  # noqa: S608 - made of constants
_SAME = f"select {COLUMNS} from approval where for_call = ? and state in ('pending', 'approved')"  # noqa: S608 - made of constants
_EXPIRED = (
    f"select {COLUMNS} from approval"  # noqa: S608 - made of constants
    " where state in ('pending', 'approved') and expires_at <= ? order by expires_at, id limit 500"
)
_OVER = "('denied', 'used', 'expired', 'revoked')"
_FORGET = f"delete from approval where state in {_OVER} and expires_at <= ?"  # noqa: S608 - made of constants


class ApprovalBooks:
    """The writer's side of approvals. Every operation runs within a transaction of the books."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    @property
    def _now(self) -> int:
        return self._logs.now // MICRO

    def ask(
        self, wanted: Approval, sealed: str, entry: Entry, most: int, expired: Callable[[Approval], Entry]
    ) -> Approval:
        """See `ApprovalKeeper.ask`."""
        row = self._connection.execute(_SAME, (wanted.keys.call,)).fetchone()
        same = None if row is None else approval_of(row)
        if same is not None and self._now < same.expires_at:
            return same
        pending: int = self._connection.execute(
            "select count(*) from approval where agent = ? and state = 'pending' and expires_at > ?",
            (wanted.agent, self._now),
        ).get
        if pending >= most:
            raise Denied(
                f"`{wanted.agent}` waits for {pending} answers of humans already",
                hint="wait for those before asking for more",
            )
        if same is not None:
            self._expire(same, expired)
        self._logs.append(entry)
        self._connection.execute(_INSERT, (*row_of(wanted), sealed))
        return wanted

    def judge(
        self, approval_id: ApprovalId, judge: Judge, entry: Callable[[Approval, Verdict], Entry]
    ) -> Verdict:
        """See `ApprovalKeeper.judge`."""
        before = self._one(approval_id)
        if before is None:
            raise unknown(approval_id)
        verdict = judge(before, self._owners(before), self._now)
        self._logs.append(entry(before, verdict))
        if verdict.after != before:
            self._write(verdict.after)
        return verdict

    def check(self, approval_id: ApprovalId) -> None:
        """Pass an approval that a call may be opened on now.

        Raises:
            Denied: it may not, any more.
        """
        check_usable(approval_id, self._one(approval_id), self._now)

    def use(self, approval_id: ApprovalId, entry: Entry) -> None:
        """Record that a call is opened on an approval that was checked; one for a single call is used up."""
        self._logs.append(entry)
        self._connection.execute(
            "update approval set state = 'used', expires_at = ? where id = ? and reach = 'call'",
            (self._now, approval_id),
        )

    def lapse(self, entry: Callable[[Approval], Entry], kept_s: int) -> int:
        """See `ApprovalKeeper.lapse`."""
        expired = [approval_of(row) for row in self._connection.execute(_EXPIRED, (self._now,)).fetchall()]
        for approval in expired:
            self._expire(approval, entry)
        self._connection.execute(_FORGET, (self._now - kept_s,))
        return len(expired)

    def _expire(self, approval: Approval, entry: Callable[[Approval], Entry]) -> None:
        self._logs.append(entry(approval))
        self._write(replace(approval, state=State.EXPIRED))

    def _write(self, approval: Approval) -> None:
        """What an approval has become. Its parameters are needed only while somebody has to read them."""
        kept = "sealed" if approval.state is State.PENDING else "null"
        columns = ", ".join(f"{column} = ?" for column in COLUMNS.split(", "))
        self._connection.execute(
            f"update approval set {columns}, sealed = {kept} where id = ?",  # noqa: S608 - made of constants
            (*row_of(approval), approval.id),
        )

    def _one(self, approval_id: ApprovalId) -> Approval | None:
        row = self._connection.execute(_ONE, (approval_id,)).fetchone()
        return None if row is None else approval_of(row)

    def _owners(self, approval: Approval) -> frozenset[str]:
        rows = self._connection.execute(
            "select owner from agent where id in (select value from json_each(?)) and owner is not null",
            (orjson.dumps(approval.chain).decode(),),
        )
        return frozenset(owner for (owner,) in rows)
