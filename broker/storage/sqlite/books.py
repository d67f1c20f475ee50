"""What is one transaction? All that a batch of operations does to the logs, the money and the agents.

Operations check first and change afterwards: one that refuses leaves no trace, and the others of
its batch are committed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import apsw

from broker.allowances import Allowance
from broker.audit.interface import Entry, Event, Receipt
from broker.errors import Conflict, InvalidRequest, UnknownTarget
from broker.identity.interface import KeyState, KeyUse, StoredKey
from broker.journal import Closing, Opened, Opening
from broker.ledger.interface import Notice, Override
from broker.limits import ended
from broker.model import Agent, AgentId, Clock, Grant
from broker.storage.sqlite.accounts import Accounts
from broker.storage.sqlite.agent_rows import COLUMNS, INSERT, UPDATE, agent_of, row_of
from broker.storage.sqlite.approval_books import ApprovalBooks
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.credential_books import CredentialBooks
from broker.storage.sqlite.first_call_books import FirstCallBooks
from broker.storage.sqlite.flow_books import FlowBooks
from broker.storage.sqlite.grant_books import GrantBooks
from broker.storage.sqlite.keyring import KeyRing
from broker.storage.sqlite.logs import MICRO, Logs
from broker.storage.sqlite.operator_books import OperatorBooks
from broker.storage.sqlite.payload_books import PayloadBooks
from broker.storage.sqlite.pin_books import PinBooks
from broker.storage.sqlite.pruning_books import PruningBooks
from broker.storage.sqlite.pseudonym_books import PseudonymBooks
from broker.storage.sqlite.sightings import Sightings
from broker.storage.sqlite.standing import Standing


class Books:
    """The writer's side of the file. Every operation runs between `begin` and `commit`."""

    def __init__(
        self,
        connection: Connection,
        keys: KeyRing,
        *,
        deployment: str,
        node: str,
        clock: Clock,
        keeps: bool = False,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._logs = Logs(connection, deployment=deployment, node=node)
        self._accounts = Accounts(connection, node=node)
        self.credentials = CredentialBooks(connection, self._logs)
        self.grants = GrantBooks(connection, self._logs)
        self.approvals = ApprovalBooks(connection, self._logs)
        self.operators = OperatorBooks(connection, self._logs)
        self.pins = PinBooks(connection, self._logs)
        self.payloads = PayloadBooks(connection, self._logs, keys, keeps=keeps)
        self.pseudonyms = PseudonymBooks(connection, self._logs, keys, self.payloads)
        self.pruning = PruningBooks(connection, self._logs, keys, self.payloads, self.pseudonyms)
        self._standing = Standing(connection)
        self._sightings = Sightings(connection)
        self._flow = FlowBooks(connection)
        self._first_calls = FirstCallBooks(connection)
        self._version = -1

    def begin(self) -> None:
        """Take the write lock; if another process has committed meanwhile, believe the file again."""
        self._connection.execute("begin immediate")
        version: int = self._connection.execute("pragma data_version").get
        if version != self._version:
            self._version = version
            self._forget()
        self._logs.now = int(self._clock() * MICRO)

    def commit(self) -> None:
        """Make everything since `begin` durable."""
        self._logs.flush()
        self._accounts.flush()
        self._flow.flush()
        self.payloads.flush()
        self._connection.execute("commit")

    def rollback(self) -> None:
        """Undo everything since `begin`. What cannot even be undone fails the next `begin` too."""
        self._forget()
        with suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("rollback")

    def open_call(self, opening: Opening) -> Opened:
        """See `JournalStore.open`."""
        call, principal = opening.call, opening.principal
        if self._accounts.held_by(call) is not None:
            raise InvalidRequest(f"the call `{call}` is already open")
        self._standing.check(principal, self._logs.now // MICRO)
        self._check_hops(principal.grants)
        if opening.used is not None:
            self.approvals.check(opening.used[0])
        if opening.claim is not None:
            self._first_calls.check(opening.claim, self._logs.now // MICRO)
        self._accounts.check(opening.quote, self._logs.now)
        if opening.step is not None:
            self._flow.check(opening.step)
        receipt = self.payloads.append(opening.intent, opening.sent)
        self._accounts.hold(call, opening.quote, opening.intent, self._logs.now)
        if opening.used is not None:
            self.approvals.use(*opening.used)
        if opening.claim is not None:
            self._first_calls.take(opening.claim, call, self._logs.now // MICRO)
        notices = self._notices(opening)
        if opening.step is not None:
            self._flow.take(opening.step)
        self._sightings.note(principal.agent.id, self._logs.now // MICRO)
        for grant in principal.grants:
            if grant.max_calls is not None:
                self._accounts.count(f"calls:{grant.id}")
        return Opened(receipt, notices)

    def _notices(self, opening: Opening) -> tuple[Notice, ...]:
        """What is to be told of the budgets; each threshold is recorded once in its window."""
        told, passed = self._accounts.notices(opening.quote)
        intent = opening.intent
        for notice, level in passed:
            facts = {
                "budget": {"scope": notice.scope, "window": notice.window, "unit": notice.unit},
                "percent": level,
            }
            self._logs.append(Entry(intent.log, Event.BUDGET_THRESHOLD, facts, intent.call, intent.agent))
        return told

    def _check_hops(self, hops: Sequence[Grant]) -> None:
        """Refuse a call under a delegation whose own call has ended, or that is used up."""
        for grant in hops:
            if grant.call is not None and self._accounts.held_by(grant.call) is None:
                raise ended(grant, "ended with the call that it was for")
            if grant.max_calls is not None and self._accounts.counted(f"calls:{grant.id}") >= grant.max_calls:
                raise ended(grant, f"was for {grant.max_calls} calls, which have been made")

    def close_call(self, closing: Closing) -> Receipt:
        """See `JournalStore.close`."""
        if self._accounts.held_by(closing.call) is None:
            receipt = self._logs.end_of(closing.call)
            if receipt is None:
                raise InvalidRequest(f"the call `{closing.call}` was never opened")
            return receipt
        receipt = self.payloads.append(closing.terminal, closing.released)
        self._accounts.settle(closing.call, closing.settlement)
        if closing.seen is not None:
            self._flow.see(closing.seen)
        if closing.ending is not None:
            self._first_calls.end(closing.call, closing.ending)
        return receipt

    def override_budget(self, override: Override, entry: Entry) -> None:
        """See `JournalStore.override_budget`."""
        self._logs.append(entry)
        self._connection.execute(
            "insert or replace into budget_override values (?, ?, ?, ?, ?, ?, ?)",
            (
                override.scope,
                override.window,
                override.unit.value,
                override.cap,
                override.until,
                override.reason,
                override.by,
            ),
        )

    def forget_windows(self, after: str) -> str | None:
        """See `JournalStore.forget_windows`."""
        return self._accounts.forget_past(after, self._logs.now)

    def declassify(
        self, transaction: str, labels: frozenset[str], entry: Callable[[frozenset[str]], Entry]
    ) -> frozenset[str]:
        """See `JournalStore.declassify`."""
        had = self._flow.declassify(transaction, labels)
        if had:
            self._logs.append(entry(had))
        return had

    def append(self, entry: Entry) -> Receipt:
        """See `JournalStore.append`."""
        return self._logs.append(entry)

    def enrol(self, agent: Agent, secret_digest: bytes | None, entry: Entry) -> None:
        """See `JournalStore.enrol`."""
        if self._has_agent(agent.id):
            raise Conflict(f"there is already an agent `{agent.id}`", hint="choose another id")
        self._logs.append(entry)
        self._connection.execute(INSERT, row_of(agent))
        if secret_digest is not None:
            self._connection.execute(
                "insert into agent_secret values (?, ?, ?, null, null)",
                (agent.id, secret_digest, agent.created_at),
            )

    def change_agent(
        self, agent_id: AgentId, change: Callable[[Agent], Agent], entry: Callable[[Agent, Agent], Entry]
    ) -> bool:
        """See `JournalStore.change_agent`."""
        row = self._connection.execute(
            f"select {COLUMNS} from agent where id = ?",  # noqa: S608 - made of constants
            (agent_id,),
        ).fetchone()
        if row is None:
            raise UnknownTarget(
                f"there is no agent `{agent_id}`", hint="`broker agent list` shows all agents"
            )
        before = agent_of(row)
        after = change(before)
        if after == before:
            return False
        self._logs.append(entry(before, after))
        after = replace(after, changed_at=self._logs.now // MICRO)
        self._connection.execute(UPDATE, (*row_of(after), agent_id))
        return True

    def allow(self, allowance: Allowance, entry: Entry) -> None:
        """See `AllowanceStore.allow`."""
        self._logs.append(entry)
        self._connection.execute(
            "insert or replace into guard_exception values (?, ?, ?, ?, ?)",
            (allowance.guard, allowance.digest, allowance.reason, allowance.by, allowance.at),
        )

    def withdraw(self, guard: str, digest: str, entry: Entry) -> None:
        """See `AllowanceStore.withdraw`."""
        named = (guard, digest)
        run = self._connection.execute
        if not run("select 1 from guard_exception where guard = ? and digest = ?", named).fetchone():
            raise UnknownTarget(
                f"`{guard}` has no exception for this text", hint="`broker guard allowed` lists all"
            )
        self._logs.append(entry)
        run("delete from guard_exception where guard = ? and digest = ?", named)

    def first_key(self, use: KeyUse, state: KeyState, make: Callable[[], StoredKey]) -> None:
        """Store the key that `make` gives, unless there is one for this use in this state."""
        same = (use.value, state.value)
        if self._connection.execute("select 1 from broker_key where use = ? and state = ?", same).fetchone():
            return
        key = make()
        self._connection.execute(
            "insert into broker_key values (?, ?, ?, ?, ?, ?)",
            (key.kid, key.use.value, key.material, key.created_at, key.state.value, key.not_after),
        )

    def save_checkpoint(self, log: str, size: int, note: str, leaf: Entry | None) -> None:
        """See `CheckpointStore.save_checkpoint`."""
        number = self._logs.number_of(log)
        if number is None:
            raise InvalidRequest(f"there is no log `{log}` to keep a checkpoint of")
        new = self._connection.execute(
            "insert into audit_ckpt values (?, ?, ?) on conflict do nothing returning size",
            (number, size, note),
        ).fetchone()
        if new is not None and leaf is not None:
            self._logs.append(leaf)

    def cosign(self, log: str, size: int, note: str) -> None:
        """See `CheckpointStore.cosign`."""
        number = self._logs.number_of(log)
        self._connection.execute(
            "update audit_ckpt set note = ? where log = ? and size = ?", (note, number, size)
        )

    def deliver(self, feed: str, log: str, next_seq: int) -> None:
        """See `FeedStore.deliver`."""
        self._connection.execute(
            "insert into audit_feed values (?, ?, ?)"
            " on conflict do update set next = max(next, excluded.next)",
            (feed, log, next_seq),
        )

    def _has_agent(self, agent_id: AgentId) -> bool:
        row = self._connection.execute("select 1 from agent where id = ?", (agent_id,)).fetchone()
        return row is not None

    def _forget(self) -> None:
        self._logs.forget()
        self._accounts.forget()
        self._standing.forget()
        self._sightings.forget()
        self._flow.forget()
        self.payloads.forget()
