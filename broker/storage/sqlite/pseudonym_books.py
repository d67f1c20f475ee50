"""Which pseudonyms are issued? Values are kept under the keys of their day and of whom they are about.

As with payloads, keys are durable before what they open is, and destroyed before that is deleted.
"""

import hmac
import json
from collections.abc import Collection, Iterator, Sequence

from broker.audit.payloads import BrokenSealError, Identifier, SubjectId, fresh_secret, seal, unseal
from broker.guardrails.pseudonyms import MOST_NAMES, Hidden, Holder, Known
from broker.model import AgentId
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.keyring import KeyRing, day_key
from broker.storage.sqlite.logs import MICRO, Logs
from broker.storage.sqlite.payload_books import PayloadBooks

DAY_S = 86_400
KEPT_S = DAY_S
"""Seconds that values are kept after a transaction has used any of them."""
NUMBERS_KEPT_S = 30 * DAY_S
"""Seconds that no number is given a second time."""


class PseudonymBooks:
    """Every operation runs inside a transaction of the books.

    Args:
        connection: the writer's.
        logs: knows what time it is.
        keys: of days and people, and of keyed hashes.
        payloads: knows the people.
    """

    def __init__(self, connection: Connection, logs: Logs, keys: KeyRing, payloads: PayloadBooks) -> None:
        self._run = connection.execute
        self._logs = logs
        self._keys = keys
        self._payloads = payloads

    def issue(self, holder: Holder, values: Sequence[Hidden], taken: Collection[str]) -> dict[str, str]:
        """See `PseudonymStore.issue`."""
        self.expire()
        handle = self._handle(holder)
        self._run("insert or ignore into pseudonym_scope values (null, ?, '{}', 0, 0)", (handle,))
        scope = self._scope(handle)
        names: dict[str, str] = {}
        for value in values:
            name = names.get(value.text) or self._name(scope, handle, holder.organisation, value, taken)
            if name is not None:
                names[value.text] = name
                self._show(scope, name, holder.agent)
        self._used(scope)
        return names

    def known(self, holder: Holder, names: Collection[str]) -> list[Known]:
        """See `PseudonymStore.known`."""
        self.expire()
        scope = self._scope(self._handle(holder))
        known = [found for name in sorted(names) if (found := self._opened(scope, name, holder.agent))]
        if known:
            self._used(scope)
        return known

    def share(self, holder: Holder, names: Collection[str], agent: AgentId) -> None:
        """See `PseudonymStore.share`."""
        scope = self._scope(self._handle(holder))
        for name in sorted(names):
            if self._holds(scope, name, holder.agent):
                self._show(scope, name, agent)

    def expire(self) -> None:
        """Delete what has had its time. People of whom nothing else is kept go with the next pruning."""
        now = self._logs.now // MICRO
        for (scope,) in self._run("select id from pseudonym_scope where expires_at <= ?", (now,)).fetchall():
            for table in ("pseudonym", "pseudonym_holder", "pseudonym_subject"):
                self._run(f"delete from {table} where scope = ?", (scope,))  # noqa: S608 - made of constants
            self._run("update pseudonym_scope set expires_at = forget_at where id = ?", (scope,))
        self._run("delete from pseudonym_scope where forget_at <= ?", (now,))

    def _handle(self, holder: Holder) -> bytes:
        """The keyed hash of the transaction that pseudonyms belong to."""
        whole = json.dumps(["pseudonyms", holder.organisation, holder.subject, holder.transaction])
        return hmac.digest(self._keys.handles, whole.encode(), "sha256")

    def _scope(self, handle: bytes) -> int:
        """The number of a transaction's pseudonyms; 0: it has none."""
        row = self._run("select id from pseudonym_scope where handle = ?", (handle,)).fetchone()
        return int(row[0]) if row else 0

    def _used(self, scope: int) -> None:
        now = self._logs.now // MICRO
        self._run(
            "update pseudonym_scope set expires_at = ?, forget_at = ? where id = ?",
            (now + KEPT_S, now + NUMBERS_KEPT_S, scope),
        )

    def _name(self, scope: int, handle: bytes, log: str, value: Hidden, taken: Collection[str]) -> str | None:
        """The name of a value; None where there are too many already."""
        same = json.dumps(["pseudonym", value.kind, value.text]).encode()
        mark = hmac.digest(self._keys.handles, handle + same, "sha256")
        row = self._run("select name from pseudonym where scope = ? and handle = ?", (scope, mark)).fetchone()
        if row is not None and self._opened(scope, row[0], None) is not None:
            return str(row[0])
        if row is not None:  # its key is gone: it stands for nothing any more
            self._forget(scope, row[0])
        name = self._next(scope, value.kind, taken)
        if name is None:
            return None
        people = [self._payloads.person(log, Identifier(handle=one)) for one in value.people]
        for person in people:
            self._run("insert or ignore into pseudonym_subject values (?, ?, ?)", (scope, name, person))
        day = self._logs.now // MICRO // DAY_S
        sealed = seal(
            self._keys.make(day_key(log, day)),
            [self._keys.make(person) for person in sorted(set(people))],
            value.text.encode(),
            secret=fresh_secret(),
            bound_to=handle + name.encode(),
        )
        self._run(
            "insert into pseudonym values (?, ?, ?, ?, ?, ?, ?, ?)",
            (scope, name, mark, log, day, value.guard, value.type, sealed),
        )
        return name

    def _next(self, scope: int, kind: str, taken: Collection[str]) -> str | None:
        row = self._run("select counts from pseudonym_scope where id = ?", (scope,)).fetchone()
        counts: dict[str, int] = json.loads(row[0]) if row else {}
        if sum(counts.values()) >= MOST_NAMES:
            return None
        number = counts.get(kind, 0) + 1
        while f"{kind}_{number}" in taken:
            number += 1
        counts[kind] = number
        self._run("update pseudonym_scope set counts = ? where id = ?", (json.dumps(counts), scope))
        return f"{kind}_{number}"

    def _opened(self, scope: int, name: str, agent: AgentId | None) -> Known | None:
        """What a name stands for, if this agent has been shown it (None: whoever has)."""
        row = self._run(
            "select p.guard, p.type, p.log, p.day, p.sealed, s.handle from pseudonym p"
            " join pseudonym_scope s on s.id = p.scope where p.scope = ? and p.name = ?",
            (scope, name),
        ).fetchone()
        if row is None or not (agent is None or self._holds(scope, name, agent)):
            return None
        guard, kind, log, day, sealed, handle = row
        people = [subject for (subject,) in self._people(scope, name)]
        keys = [self._keys.get(which) for which in (day_key(log, day), *people)]
        held = [key for key in keys if key is not None]
        if len(held) < len(keys):
            return None
        try:
            _, text = unseal(held[0], held[1:], sealed, bound_to=bytes(handle) + name.encode())
        except BrokenSealError:  # altered, or put there from elsewhere: it stands for nothing
            return None
        return Known(name, guard, kind, text.decode())

    def _people(self, scope: int, name: str) -> Iterator[tuple[SubjectId]]:
        rows = self._run("select subject from pseudonym_subject where scope = ? and name = ?", (scope, name))
        for (subject,) in rows.fetchall():
            yield (SubjectId(subject),)

    def _holds(self, scope: int, name: str, agent: AgentId) -> bool:
        row = self._run(
            "select 1 from pseudonym_holder where scope = ? and name = ? and agent = ?", (scope, name, agent)
        ).fetchone()
        return row is not None

    def _show(self, scope: int, name: str, agent: AgentId) -> None:
        self._run("insert or ignore into pseudonym_holder values (?, ?, ?)", (scope, name, agent))

    def _forget(self, scope: int, name: str) -> None:
        for table in ("pseudonym", "pseudonym_holder", "pseudonym_subject"):
            self._run(f"delete from {table} where scope = ? and name = ?", (scope, name))  # noqa: S608
