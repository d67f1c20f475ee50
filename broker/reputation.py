"""How far is a chain trusted now? Follows the log, keeps a number for each agent and records its changes.

The call path only reads that number. What no honest agent does is heard of before the log is read
again, so that the very next call is cut.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import orjson

from broker.audit.interface import SYSTEM_LOG, Event, Facts, Filter, LogHead, LogReader, StoredRecord
from broker.errors import Because
from broker.journal import Journal
from broker.model import Agent, Principal, SideEffect, Target
from broker.trust.bands import MARGIN, above, band_of, floor, within
from broker.trust.interface import MOST, Band, Record
from broker.trust.replay import Replay, Update
from broker.trust.score import Reckoning, Weights
from broker.trust.signs import watchers

logger = logging.getLogger("broker.reputation")

HARD: frozenset[str] = frozenset({"trust/honeytool"})
"""Rules that quarantine whoever runs into them."""

REFRESH_US = 60_000_000
"""How often the numbers of agents that do nothing are worked out again, in microseconds."""

_READ = frozenset(
    {
        Event.CALL_INTENT,
        Event.CALL_DENIED,
        Event.CALL_OUTCOME,
        Event.TRUST_UPDATED,
        Event.TRUST_RELEASED,
    }
)


def micros() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1000


class Reputation:
    """What the log makes of every agent.

    Args:
        log: what is read.
        journal: where changes are recorded.
        weights: what speaks against an agent.
        changed: is told when the band of an agent is another one.
        clock: Unix time in microseconds.
    """

    def __init__(
        self,
        log: LogReader,
        journal: Journal,
        weights: Weights,
        changed: Callable[[Update], None],
        *,
        clock: Callable[[], int] = micros,
    ) -> None:
        self._log = log
        self._journal = journal
        self._weights = weights
        self._changed = changed
        self._clock = clock
        self._logs: dict[str, LogReplay] = {}
        self._scores: dict[str, int] = {}
        self._caught: set[str] = set()
        self._refreshed = 0

    def lowest(self, principal: Principal) -> int:
        """The lowest score of a chain."""
        return min([self._score(agent) for agent in principal.actors], default=MOST)

    def shown(self, principal: Principal, targets: Sequence[Target]) -> Sequence[Target]:
        """Those of the targets that a chain is still shown where it is trusted as this one is."""
        band = band_of(self.lowest(principal))
        if band is Band.QUARANTINED:
            return []
        if band is not Band.RESTRICTED:
            return targets
        return [one for one in targets if one.side_effect is SideEffect.READS and one.agent is None]

    def heed(self, principal: Principal, because: Sequence[Because]) -> None:
        """Hear why a call is refused: what no honest agent does quarantines before its record is read."""
        if not HARD.isdisjoint(one.rule for one in because):
            self._caught.add(principal.agent.id)

    async def look(self) -> None:
        """Read what the logs have got since the last look, and record what has changed by it.

        Raises:
            StorageUnavailable: a log cannot be read or written now.
        """
        for head in await self._log.logs():
            if head.name != SYSTEM_LOG:
                await self._look_at(head)
        now = self._clock()
        if now - self._refreshed >= REFRESH_US:
            self._refreshed = now
            self._refresh([(replay, agent) for replay in self._logs.values() for agent in replay.agents], now)

    async def adopt(self, weights: Weights) -> None:
        """Go by other weights: everything is worked out again from the logs.

        Raises:
            StorageUnavailable: a log cannot be read now.
        """
        if weights == self._weights:
            return
        self._weights = weights
        self._logs.clear()
        await self.look()
        self._refreshed = 0

    async def _look_at(self, head: LogHead) -> None:
        replay = self._logs.setdefault(head.name, LogReplay(self._weights))
        if head.size <= replay.size:
            return
        updates = await replay.read(self._log, head)
        self._refresh([(replay, agent) for agent in replay.touched], self._clock())
        for update in updates:
            await self._journal.trust_updated(head.name, update.agent, told(update, self._weights.version))
            if update.band is not update.was:
                logger.warning("`%s` is %s now, it was %s", update.agent, update.band, update.was)
                self._changed(update)

    def _refresh(self, agents: Sequence[tuple["LogReplay", str]], now: int) -> None:
        for replay, agent in agents:
            band, reckoning = replay.standing(agent, 1, now)
            self._scores[agent] = within(reckoning.score, band)
            if band is Band.QUARANTINED or agent in replay.released:  # the log knows by now
                self._caught.discard(agent)

    def _score(self, agent: Agent) -> int:
        if agent.id in self._caught:
            return 0
        level = int(agent.attestation[1:])
        return min(self._scores.get(agent.id, self._weights.base[level]), self._weights.ceiling[level])


class LogReplay:
    """One log, read again and again from where the last reading ended."""

    def __init__(self, weights: Weights) -> None:
        self._replay = Replay(weights, watchers())
        self._told: dict[str, int] = {}
        self.size = 0
        self.touched: set[str] = set()
        """Whom the last reading was about."""
        self.released: set[str] = set()
        """Whom it saw released."""

    async def read(
        self, log: LogReader, head: LogHead, *, until: int | None = None, again: bool = False
    ) -> list[Update]:
        """Read on. Returns the changes that no record in the log tells of yet.

        Args:
            log: where it is.
            head: how far it goes.
            until: Unix microseconds; what was recorded later is not read.
            again: return all changes, told or not.

        Raises:
            StorageUnavailable: it cannot be read now.
        """
        updates: list[Update] = []
        self.touched.clear()
        self.released.clear()
        where = Filter(events=_READ, from_seq=self.size, before_seq=head.size)
        async for stored in log.records(head.name, where):
            record = parsed(stored)
            if until is not None and record.at > until:
                break
            if record.type == Event.TRUST_UPDATED:
                agent = str(record.body["target"])
                self._told[agent] = max(self._told.get(agent, -1), record.body["as_of"])
                continue
            if record.type == Event.TRUST_RELEASED:
                self.released.add(str(record.body["target"]))
            updates += self._replay.take(record)
            self.touched |= {str(name) for name in (record.agent, record.body.get("target")) if name}
        self.size = head.size
        return [update for update in updates if again or update.as_of > self._told.get(update.agent, -1)]

    @property
    def agents(self) -> list[str]:
        """Whom the log knows."""
        return self._replay.agents

    def held(self, agent: str) -> str | None:
        """As `Replay.held`."""
        return self._replay.held(agent)

    def standing(self, agent: str, level: int, now: int) -> tuple[Band, Reckoning]:
        """As `Replay.standing`."""
        return self._replay.standing(agent, level, now)


def parsed(stored: StoredRecord) -> Record:
    """A record of the log as watchers see it."""
    body = orjson.loads(stored.body)
    at = datetime.fromisoformat(body["ts"])
    return Record(
        stored.seq, int(at.timestamp()) * 1_000_000 + at.microsecond, body["type"], body.get("agent"), body
    )


def told(update: Update, version: str) -> Facts:
    """A change as facts of a record: the score, the band, and the five rules that cost most."""
    reckoning = update.reckoning
    return {
        "target": update.agent,
        "as_of": update.as_of,
        "score": reckoning.score,
        "band": update.band,
        "was": update.was,
        "base": reckoning.base,
        "earned": reckoning.earned,
        "ceiling": reckoning.ceiling,
        "weights": version,
        "because": [
            {"rule": one.rule, "points": one.points, "signs": one.count, "seqs": list(one.seqs)}
            for one in reckoning.contributions[:5]
        ],
    }


@dataclass(frozen=True, slots=True)
class Account:
    """How far an agent is trusted at a time, and why.

    Args:
        band: what it may go by; `score`: as rules see it.
        reckoning: how it comes about.
        held_by: the rule that quarantines it until it is released.
        next_band: the band above its own; `rises_in_s`: in how many seconds its score is high enough for
            that, if nothing more speaks against it. None where that is not within 90 days.
    """

    band: Band
    score: int
    reckoning: Reckoning
    held_by: str | None
    next_band: Band | None
    rises_in_s: int | None

    @property
    def facts(self) -> Facts:
        """As JSON."""
        return asdict(self)


async def account(log: LogReader, agent: Agent, weights: Weights, now: int) -> Account:
    """How far an agent is trusted at a time (Unix microseconds), from the records until then.

    Raises:
        StorageUnavailable: its log cannot be read.
    """
    replay = LogReplay(weights)
    for head in await log.logs():
        if head.name == agent.organisation:
            await replay.read(log, head, until=now)
    level = int(agent.attestation[1:])
    band, reckoning = replay.standing(agent.id, level, now)
    better = above(band)
    needed = MOST + 1 if better is None else floor(better) + MARGIN
    hours = range(24 * 90)
    rise = next((h for h in hours if _score_in(replay, agent, now, h) >= needed), None)
    held = replay.held(agent.id)
    rises = None if rise is None or band is Band.QUARANTINED else rise * 3600
    return Account(band, within(reckoning.score, band), reckoning, held, better, rises)


async def replayed(log: LogReader, weights: Weights) -> list[Update]:
    """Every change of trust that some weights make of all logs, in the order of time.

    Raises:
        StorageUnavailable: a log cannot be read.
    """
    updates: list[Update] = []
    for head in await log.logs():
        if head.name != SYSTEM_LOG:
            updates += await LogReplay(weights).read(log, head, again=True)
    return sorted(updates, key=lambda one: (one.at, one.as_of))


def _score_in(replay: LogReplay, agent: Agent, now: int, hours: int) -> int:
    return replay.standing(agent.id, int(agent.attestation[1:]), now + hours * 3_600_000_000)[1].score
