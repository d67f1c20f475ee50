"""What does a log make of its agents? A fold over its records; folding them again gives the same.

Only records move anything: no timer changes what is published, so every `trust.updated` can be
recomputed from the records before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from broker.trust.bands import Standing, band_of, within
from broker.trust.interface import Band, Record, Sign, Watcher
from broker.trust.score import History, Reckoning, Weights, reckon

RELEASED = "trust.released"

STEP = 25
"""A score that has moved less than this, within its band, is not told."""

ON_RELEASE = "released"
"""The rule by which an agent that was released is watched at first."""

_BEGUN = frozenset({"call.intent", "call.denied"})


@dataclass(frozen=True, slots=True)
class Update:
    """That an agent is trusted otherwise from this record on."""

    agent: str
    at: int
    as_of: int
    was: Band
    band: Band
    reckoning: Reckoning


@dataclass(slots=True)
class _Known:
    history: History
    standing: Standing
    told: int
    told_band: Band


@dataclass(slots=True)
class Replay:
    """The agents of one log, as far as it was read.

    Args:
        weights: what signs cost.
        watchers: what finds them; they belong to this replay.
    """

    weights: Weights
    watchers: Sequence[Watcher]
    _known: dict[str, _Known] = field(default_factory=dict[str, _Known])

    def take(self, record: Record) -> list[Update]:
        """Read the next record. Returns who is trusted otherwise now."""
        touched: dict[str, None] = {}
        if record.type == RELEASED:
            self._release(str(record.body["target"]), record)
            touched[str(record.body["target"])] = None
        if record.type in _BEGUN and record.agent is not None:
            self._learn_levels(record)
            touched[record.agent] = None
        for watcher in self.watchers:
            for sign in watcher.see(record):
                if sign.withdrawn:
                    self._of(sign.agent).history.withdraw(sign.rule, str(sign.key))
                else:
                    self._blame(sign)
                touched[sign.agent] = None
        if record.type == "call.outcome" and record.body.get("outcome") == "ok" and record.agent is not None:
            one = self._of(record.agent)
            one.history.worked(record.at)
            one.standing = replace(one.standing, clean=one.standing.clean + 1)
            touched[record.agent] = None
        return [update for agent in touched if (update := self._judge(agent, record)) is not None]

    def standing(self, agent: str, level: int, now: int) -> tuple[Band, Reckoning]:
        """The band and the reckoning of an agent at a time (Unix microseconds).

        Args:
            agent: who; one that the log does not know starts at the base of its level.
            level: its attestation level, for an agent that the log does not know.
            now: Unix microseconds.
        """
        one = self._known.get(agent)
        if one is None:
            reckoning = reckon(History(level), self.weights, now)
            return band_of(reckoning.score), reckoning
        reckoning = reckon(one.history, self.weights, now)
        return one.standing.now(reckoning.score, now), reckoning

    def held(self, agent: str) -> str | None:
        """The rule that quarantines an agent whatever its score is; None if none does."""
        one = self._known.get(agent)
        return one.history.held[1] if one is not None and one.history.held else None

    @property
    def agents(self) -> list[str]:
        """Whom the log knows, by name."""
        return sorted(self._known)

    def _of(self, agent: str, level: int = 1) -> _Known:
        if agent not in self._known:
            score = reckon(History(level), self.weights, 0).score
            self._known[agent] = _Known(History(level), Standing(band_of(score)), score, band_of(score))
        return self._known[agent]

    def _learn_levels(self, record: Record) -> None:
        chain = record.body.get("actor", {}).get("chain", [])
        facts = record.body.get("decision", {}).get("situation", {}).get("actors", [])
        if chain and facts and chain[0] == record.agent:
            level = min(3, int(facts[0]["level"]))
            self._of(str(record.agent), level).history.level = level

    def _blame(self, sign: Sign) -> None:
        weight = self.weights.rules.get(sign.rule)
        one = self._of(sign.agent)
        if weight is None or not one.history.add(sign):
            return
        one.standing = replace(one.standing, quiet_since=max(one.standing.quiet_since, sign.at), clean=0)
        if weight.hard:
            one.history.held = min(one.history.held or (sign.at, sign.rule), (sign.at, sign.rule))

    def _release(self, agent: str, record: Record) -> None:
        """What was held against it is over; for a while it is watched."""
        known = self._of(agent)
        history = History(known.history.level, busy=set(), marred=set())
        history.add(Sign(ON_RELEASE, agent, record.at, record.seq))
        score = reckon(history, self.weights, record.at).score
        known.history, known.standing = history, Standing(band_of(score), quiet_since=record.at)

    def _judge(self, agent: str, record: Record) -> Update | None:
        one = self._of(agent)
        reckoning = reckon(one.history, self.weights, record.at)
        was, band = one.told_band, one.standing.now(reckoning.score, record.at)
        one.standing = replace(one.standing, band=band)
        score = within(reckoning.score, band)
        if band is was and abs(score - one.told) < STEP and record.type != RELEASED:
            return None
        one.told, one.told_band = score, band
        return Update(agent, record.at, record.seq, was, band, replace(reckoning, score=score))
