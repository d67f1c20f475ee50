"""What is true of a transaction at this moment? Every call is judged on it and counted in it at once.

A transaction is everything that is done for one access token, by its agent and by whomever it delegates
to. Its state lives in the memory of each process that works for it, as one *reading* of what is kept.

Two calls at once must not slip past each other, one reading what the other sends away. Within a process
a call is judged and counted without anything in between, and counted before its intent is on the disk;
so nobody waits for the disk. Between processes the commit of the intent fails where another process has
gone on with the transaction since this one read it (`MovedError`), and the call is judged again.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import orjson

from broker.errors import Because, Denied
from broker.flow.declared import read_declared
from broker.flow.interface import FlowStore, Kept, MovedError
from broker.flow.reading import Reading
from broker.flow.step import Seen, Sightings, Step
from broker.flow.words import Words, fields, texts
from broker.model import Call, Clock, Json, Origin, Principal, SideEffect, Situation, Target

UNTRUSTED = frozenset({"untrusted-source"})
"""What a target is whose labels nobody has given: anybody may have written what it answers."""

CAPACITY = 10_000
"""How many transactions stay in memory; those that have rested longest are read again when they go on."""


MOST_TASK_CHARS = 16 * 1024
"""How much of a task's text is taken in, in characters."""

MOST_TEXTS = 64
"""How many different texts a transaction's task may have."""


class Turn:
    """One call in its transaction: what it is judged on, and the step that it is.

    As a context it counts the call; left before `kept` was called, the call is not counted any more. A
    `MovedError` goes no further than this: nothing was done, and the call is to be judged again.
    """

    __slots__ = ("_open", "_reading", "situation", "step")

    def __init__(self, reading: Reading, situation: Situation, step: Step) -> None:
        self._reading = reading
        self._open = False
        self.situation = situation
        self.step = step

    def kept(self) -> None:
        """The step is on the disk."""
        self._open = False
        self._reading.bound.update(self.step.names)
        if self.step.sightings is not None:
            self._reading.unkept -= self.step.sightings.digests
        self._reading.end_step()

    def outdated(self) -> None:
        """What it was judged on is not true any more."""
        self._reading.stale = True

    def __enter__(self) -> Self:
        self._open = True
        self._reading.take(self.step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._open:  # it has not come about: what is kept is right, what is counted here is not
            self._open = False
            self._reading.stale = True
            self._reading.end_step()
        return isinstance(error, MovedError)


class Transactions:
    """The transactions that this process works for.

    Args:
        store: where they are kept.
        key: keys the hashes of what is remembered; 256 random bits of this deployment.
        clock: Unix time in seconds.
        capacity: how many stay in memory.
    """

    def __init__(
        self, store: FlowStore, key: bytes, *, clock: Clock = time.time, capacity: int = CAPACITY
    ) -> None:
        self._store = store
        self._clock = clock
        self._capacity = capacity
        self._readings: OrderedDict[str, Reading] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._words = Words(key)
        self.watching = False

    async def turn(self, principal: Principal, call: Call, target: Target, params: Json) -> Turn:
        """A call's turn in its transaction. To be judged and entered before anything else is awaited.

        Raises:
            Denied: its token and its task belong to different transactions.
        """
        token, task = principal.transaction, self._task_name(principal, call)
        transaction = self._owners.get(token)
        reading = None if transaction is None else self._readings.get(transaction)
        if reading is None or reading.stale or (task is not None and task not in reading.names):
            transaction, reading = await self._join(token, task)
        if self.watching and (text := call.task_text) is not None and not principal.grants:
            self._hear(reading, text)
        return self._turn(str(transaction), reading, [token, task] if task else [token], target, params)

    async def of(self, principal: Principal, call: Call) -> str:
        """The transaction that a call belongs to, before it has its turn.

        Raises:
            Denied: its token and its task belong to different transactions.
        """
        token, task = principal.transaction, self._task_name(principal, call)
        known = self._owners.get(token)
        if known is not None and task is None:
            return known
        transaction, _ = await self._join(token, task)
        return transaction

    async def moved(self, turn: Turn) -> bool:
        """Whether another process has gone on with the transaction: then the call is to be judged again."""
        step = turn.step
        if await self._store.unmoved(step.transaction, step.reading, step.known):
            return False
        turn.outdated()
        return True

    def _turn(
        self, transaction: str, reading: Reading, names: list[str], target: Target, params: Json
    ) -> Turn:
        now = int(self._clock())
        writes = target.side_effect is not SideEffect.READS
        fingerprint = self._fingerprint(target, params)
        tally = reading.tally
        counters = tally.counters(target.name, fingerprint, now, writes=writes)
        declared = read_declared(target, params, self._words, reading)
        declared.count(counters, reading.counted)
        step = Step(
            transaction=transaction,
            reading=reading.id,
            known=reading.known,
            names=tuple([name for name in names if name not in reading.bound]),
            at=now,
            target=target.name,
            labels=target.labels or UNTRUSTED,
            writes=writes,
            fingerprint=fingerprint,
            sums=tuple(declared.sums),
            values=tuple(declared.values),
            sightings=Sightings(Origin.TASK, frozenset(reading.unkept)) if reading.unkept else None,
        )
        return Turn(reading, Situation(tally.labels, declared.provenance, counters), step)

    def _hear(self, reading: Reading, text: str) -> None:
        """Take in what the caller was asked to do. What was seen elsewhere before stays what it is."""
        told = self._words.hash(text)
        if told not in reading.told and len(reading.told) < MOST_TEXTS:
            reading.told.add(told)
            reading.unkept |= reading.sight(self._words.of(text[:MOST_TASK_CHARS]), Origin.TASK)

    def see(self, turn: Turn, target: Target, content: Json) -> Seen | None:
        """What a result shows to the transaction, to be kept before it is handed out; None if nothing new.

        Args:
            turn: the call's.
            target: what was called.
            content: what will be handed out.
        """
        reading = self._readings.get(turn.step.transaction)
        if not self.watching or reading is None:
            return None
        trusted = bool(target.labels) and not target.labels & UNTRUSTED
        origin = Origin.TRUSTED if trusted else Origin.UNTRUSTED
        was_full = reading.tally.full
        own = self._own(reading, target, content)
        found, more = texts(content)
        new = reading.sight(set[bytes]().union(*map(self._words.of, found)), origin)
        full = reading.tally.full = reading.tally.full or (more and not trusted)
        if not new and own is None and full is was_full:
            return None
        return Seen(turn.step.transaction, reading.id, Sightings(origin, new, full), own)

    def _own(self, reading: Reading, target: Target, content: Json) -> Sightings | None:
        """What is new in the fields of a result that are declared as one's own."""
        if not target.own_fields:
            return None
        found = fields(content.get("structuredContent"), target.own_fields)
        new = reading.sight(set[bytes]().union(*map(self._words.of, found)), Origin.OWN)
        return Sightings(Origin.OWN, new) if new else None

    def retarget(self, targets: Iterable[Target]) -> None:
        """Take note of what exists: where no argument is a destination or an amount, no values are kept."""
        self.watching = any(argument.role for target in targets for argument in target.arguments)

    def _fingerprint(self, target: Target, params: Json) -> bytes:
        """What calls of the same target with the same parameters have in common."""
        try:
            data = orjson.dumps([target.kind, target.name, params], option=orjson.OPT_SORT_KEYS)
        except TypeError:  # integers beyond 64 bits, lone surrogates: JSON all the same
            data = json.dumps([target.kind, target.name, params], sort_keys=True).encode()
        return self._words.digest(data)

    def _task_name(self, principal: Principal, call: Call) -> str | None:
        """What a task is called by here. A delegate's task is what its delegator told it: not its own."""
        task = call.task
        if task is None or principal.grants:
            return None
        whole = json.dumps([principal.organisation, principal.agent.id, task])
        return f"task:{self._words.hash(whole).hex()}"

    async def _join(self, token: str, task: str | None) -> tuple[str, Reading]:
        """Find the transaction of a token and a task, and a reading of it that is not stale."""
        names = [token] if task is None else [token, task]
        kept = {name: owner for name in names if (owner := await self._store.owner(name)) is not None}
        transaction = _one_of([owner for n in names if (owner := kept.get(n) or self._owners.get(n))], token)
        reading = await self._fresh(transaction)
        for name in names:
            self._owners[name] = transaction
        reading.names.update(names)
        reading.bound.update(kept)
        return transaction, reading

    async def _fresh(self, transaction: str) -> Reading:
        while (reading := self._readings.get(transaction)) is None or reading.stale:
            if reading is not None and reading.pending:
                await reading.drained.wait()
            kept = await self._store.load(transaction)
            if self._readings.get(transaction) is reading and not (reading and reading.pending):
                self._adopt(transaction, kept)
        self._readings.move_to_end(transaction)
        return reading

    def _adopt(self, transaction: str, kept: Kept) -> None:
        self._readings[transaction] = Reading(transaction, kept)
        for resting, reading in list(self._readings.items())[: len(self._readings) - self._capacity]:
            if not reading.pending:
                del self._readings[resting]
                for name in reading.names:
                    self._owners.pop(name, None)


def _one_of(owners: list[str], new: str) -> str:
    if len(set(owners)) > 1:
        raise Denied(
            "this access token has begun another task",
            because=(Because("transaction/one", "a token and a task belong to one transaction"),),
            hint="ask the token endpoint for a new token for each task that is to be kept apart",
        )
    return owners[0] if owners else new
