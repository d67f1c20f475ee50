"""What is kept of what was said, and about whom? Payloads and people, in the writer's transaction.

Keys come first and go first: a key is durable before what it opens is, and destroyed before that is deleted.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.audit.interface import Entry, Facts, Receipt
from broker.audit.payloads import (
    SALT_BYTES,
    About,
    BrokenSealError,
    Erased,
    Identifier,
    Opened,
    Part,
    Payload,
    Subject,
    SubjectId,
    commitment,
    committed,
    fresh_secret,
    handle_of,
    seal,
    unseal,
)
from broker.errors import UnknownTarget
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.keyring import KeyRing, day_key
from broker.storage.sqlite.logs import MICRO, SEQ_BITS, SEQ_MASK, Logs

_DAY_S = 86_400
_MOST_REMEMBERED = 10_000
_SUBJECTS = (
    "select id, log, identity, created_at,"
    " (select count(*) from payload_subject where subject = id) from subject"
)
_PAYLOADS = (
    "select p.id, p.day, p.kept, p.sealed, r.call, r.body, l.name from payload p"
    " join audit_rec r on r.id = p.id join audit_log l on l.id = p.id >> ?"
)


class PayloadBooks:
    """Appends records that commit to payloads, and keeps, opens and destroys those.

    Args:
        connection: the writer's.
        logs: appends the records.
        keys: the keys of days and people.
        keeps: whether contents are kept, or only what proves the commitments.
    """

    def __init__(self, connection: Connection, logs: Logs, keys: KeyRing, *, keeps: bool) -> None:
        self._connection = connection
        self._logs = logs
        self._keys = keys
        self._keeps = keeps
        self._rows: list[tuple[int, int, int, bytes]] = []
        self._links: list[tuple[int, str]] = []
        self._people: dict[tuple[str, Identifier], SubjectId] = {}

    def append(self, entry: Entry, payload: Payload | None) -> Receipt:
        """Append a record; where there is a payload, let it commit to that and name whom it is about."""
        if payload is None:
            return self._logs.append(entry)
        secret = fresh_secret()
        facts: Facts = {**entry.facts, payload.part.value: committed(payload, secret[-SALT_BYTES:])}
        people: list[SubjectId] = []
        if payload.people:
            people = facts["subjects"] = sorted({self.person(entry.log, named) for named in payload.people})
        receipt = self._logs.append(Entry(entry.log, entry.event, facts, entry.call, entry.agent))
        day = self._logs.now // MICRO // _DAY_S
        keeps = self._keeps and payload.complete
        sealed = seal(
            self._keys.make(day_key(entry.log, day)),
            [self._keys.make(person) for person in people],
            payload.content if keeps else None,
            secret=secret,
            bound_to=_bound(entry.log, entry.call or "", payload.part),
        )
        key = self._logs.key_of(receipt)
        self._rows.append((key, day, int(keeps), sealed))
        for person in people:
            self._links.append((key, person))
        return receipt

    def flush(self) -> None:
        """Write what is kept; its keys are durable before it is."""
        self._keys.commit()
        if self._rows:
            self._connection.executemany("insert into payload values (?, ?, ?, ?)", self._rows)
            self._rows.clear()
        if self._links:
            self._connection.executemany("insert into payload_subject values (?, ?)", self._links)
            self._links.clear()

    def forget(self) -> None:
        """Believe the files again."""
        self._rows.clear()
        self._links.clear()
        self._people.clear()
        self._keys.forget()

    def handle(self, text: str) -> bytes:
        """See `PayloadStore.handle`."""
        return handle_of(self._keys.handles, text)

    def read(self, call: str, entry: Callable[[str, Sequence[Part]], Entry]) -> list[Opened]:
        """See `PayloadStore.read`."""
        self._write_now()
        found = list(self._opened("where r.call = ? order by p.id", call))
        if found:
            self._logs.append(entry(found[0].log, [one.part for one in found]))
        return found

    def kept(self, log: str, first: int, end: int) -> frozenset[int]:
        """See `PayloadStore.kept`."""
        self._write_now()
        base = (self._logs.number_of(log) or 0) << SEQ_BITS
        rows = self._all("select id from payload where id >= ? and id < ?", base | first, base | end)
        return frozenset(key & SEQ_MASK for (key,) in rows)

    def broken(self, after: int, limit: int) -> tuple[list[tuple[str, int]], int | None]:
        """Of the next payloads those that do not hold, and after which to go on; None at the end."""
        self._write_now()
        keys = [
            key
            for (key,) in self._all("select id from payload where id > ? order by id limit ?", after, limit)
        ]
        if not keys:
            return [], None
        opened = self._opened(f"where p.id between {keys[0]} and ? order by p.id", keys[-1])
        return [(one.log, one.seq) for one in opened if not (one.holds or one.lost)], keys[-1]

    def subjects(self) -> list[Subject]:
        """See `PayloadStore.subjects`."""
        return [self._subject(row) for row in self._all(f"{_SUBJECTS} order by log, created_at, id")]

    def about(
        self, who: str, log: str | None, entry: Callable[[Subject, Sequence[Part]], Entry]
    ) -> list[About]:
        """See `PayloadStore.about`."""
        self._write_now()
        found: list[About] = []
        for subject in self._found(who, log):
            where = "where p.id in (select payload from payload_subject where subject = ?) order by p.id"
            payloads = tuple(self._opened(where, subject.id))
            self._logs.append(entry(subject, [one.part for one in payloads]))
            found.append(About(subject, tuple(self._records_of(subject.id)), payloads))
        return found

    def erase(self, who: str, log: str | None, entry: Callable[[SubjectId, str, int], Entry]) -> list[Erased]:
        """See `PayloadStore.erase`."""
        self._write_now()
        subjects = self._found(who, log)
        self._keys.destroy([subject.id for subject in subjects])
        erased: list[Erased] = []
        for subject in subjects:
            count = self._delete(subject.id)
            self.forget_strangers()
            receipt = self._logs.append(entry(subject.id, subject.log, count))
            erased.append(Erased(subject.id, subject.log, count, receipt.index, receipt.leaf))
        return erased

    def forget_strangers(self) -> None:
        """Destroy what names people about whom nothing is kept any more."""
        strangers = self._all(
            "select id from subject where not exists (select 1 from payload_subject where subject = id)"
            " and not exists (select 1 from pseudonym_subject where subject = id)"
        )
        self._keys.destroy([subject for (subject,) in strangers])
        for row in strangers:
            self._connection.execute("delete from subject where id = ?", row)
        self._people.clear()

    def _delete(self, subject: SubjectId) -> int:
        """Everything about a person: payloads die with any of those whom they are about."""
        run = self._connection.execute
        run(
            "delete from payload where id in (select payload from payload_subject where subject = ?)",
            (subject,),
        )
        count: int = run("select changes()").get
        for table in ("pseudonym", "pseudonym_subject"):
            run(
                f"delete from {table} where (scope, name) in"  # noqa: S608 - made of constants
                " (select scope, name from pseudonym_subject where subject = ?)",
                (subject,),
            )
        run(
            "delete from payload_subject where payload in"
            " (select payload from payload_subject where subject = ?)",
            (subject,),
        )
        run("delete from subject where id = ?", (subject,))
        return count

    def person(self, log: str, named: Identifier) -> SubjectId:
        """Whom this names, enrolled if nobody has named them before."""
        known = self._people.get((log, named))
        if known is None:
            handle = named.handle if named.text is None else self.handle(named.text)
            if len(self._people) >= _MOST_REMEMBERED:
                self._people.clear()
            known = self._people[log, named] = self._enrolled(log, handle)
            self._name(known, log, named.text)
        return known

    def _enrolled(self, log: str, handle: bytes) -> SubjectId:
        run = self._connection.execute
        row = run("select id from subject where log = ? and handle = ?", (log, handle)).fetchone()
        if row is not None:
            return SubjectId(row[0])
        new = SubjectId(f"ps_{secrets.token_hex(16)}")
        self._keys.make(new)
        run("insert into subject values (?, ?, ?, null, ?)", (new, log, handle, self._logs.now // MICRO))
        return new

    def _name(self, subject: SubjectId, log: str, text: str | None) -> None:
        """Keep what names a person, where the operator has declared that an argument does."""
        if text is None:
            return
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(self._keys.make(subject)).encrypt(nonce, text.encode(), _bound(log, subject))
        self._connection.execute(
            "update subject set identity = ? where id = ? and identity is null", (sealed, subject)
        )

    def _found(self, who: str, log: str | None) -> list[Subject]:
        """The subjects that are meant, one an organisation.

        Raises:
            UnknownTarget: there is none.
        """
        rows = self._all(
            f"{_SUBJECTS} where (id = ?1 or handle = ?2) and (?3 is null or log = ?3) order by log",
            who,
            self.handle(who),
            log,
        )
        if not rows:
            raise UnknownTarget(
                "nothing is kept about this person", hint="`broker subject list` shows who is known"
            )
        return [self._subject(row) for row in rows]

    def _subject(self, row: Sequence[Any]) -> Subject:
        subject, log, identity, created_at, payloads = row
        key = self._keys.get(subject)
        text = None
        if identity is not None and key is not None:
            text = AESGCM(key).decrypt(identity[:12], identity[12:], _bound(log, subject)).decode()
        return Subject(SubjectId(subject), log, text, created_at, payloads)

    def _opened(self, where: str, which: str) -> Iterator[Opened]:
        for key, day, kept, sealed, call, body, log in self._all(f"{_PAYLOADS} {where}", SEQ_BITS, which):
            facts: dict[str, Any] = orjson.loads(body)
            part = Part.ARGUMENTS if Part.ARGUMENTS in facts else Part.RESULT
            keys = self._keys_of(key, log, day)
            shut = Opened(log, call, key & SEQ_MASK, part, b"", None, holds=False, lost=keys is None)
            try:
                if keys is None:
                    yield shut
                    continue
                salt, content = unseal(*keys, sealed, bound_to=_bound(log, call, part))
            except BrokenSealError:
                yield shut
                continue
            said = facts[part]["commitment"]
            holds = not kept or commitment(part, salt, content) == said
            yield Opened(log, call, key & SEQ_MASK, part, salt, content if kept else None, holds)

    def _keys_of(self, payload: int, log: str, day: int) -> tuple[bytes, list[bytes]] | None:
        """The key of the day, and those of everybody whom a payload is about; None if one is gone."""
        people = self._all("select subject from payload_subject where payload = ?", payload)
        keys = [self._keys.get(name) for name in (day_key(log, day), *(subject for (subject,) in people))]
        held = [key for key in keys if key is not None]
        return (held[0], held[1:]) if len(held) == len(keys) else None

    def _records_of(self, subject: SubjectId) -> Iterator[tuple[int, bytes]]:
        rows = self._all(
            "select r.id, r.body from audit_rec r where r.id in"
            " (select payload from payload_subject where subject = ?) order by r.id",
            subject,
        )
        for key, body in rows:
            yield key & SEQ_MASK, body

    def _all(self, sql: str, *bindings: int | str | bytes | None) -> list[Any]:
        return self._connection.execute(sql, bindings).fetchall()

    def _write_now(self) -> None:
        """Let what this batch has appended be found."""
        self._logs.flush()
        self.flush()


def _bound(*parts: str) -> bytes:
    return "\0".join(parts).encode()
