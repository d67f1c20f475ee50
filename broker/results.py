"""Is there an answer already, so that the upstream need not be asked? For a repeated call, and for a read.

Both are answered as if the upstream had said it now: the caller is authenticated, the call is judged, the
answer is screened, and all of it is recorded. Only nothing is done, so nothing is paid.
"""

import json
import time
from collections.abc import Hashable
from typing import Final

import orjson

from broker.cache import Cache, cacheable, key_of
from broker.errors import InvalidRequest
from broker.idempotency import MOST_CHARS, Claim, Earlier, First, FirstCalls, State, check
from broker.identity.seals import Sealer
from broker.model import IDEMPOTENCY_KEY, Answer, Clock, MicroUSD, Principal, Target
from broker.record import CallRecord, Scribe
from broker.settings import ResultSettings

FREE: Final = MicroUSD(0)


class Results:
    """Finds answers of earlier calls, and keeps those that may be wanted again.

    Args:
        store: the first calls under their keys.
        sealer: seals the answers that are kept on the disk.
        digest_key: keys the hashes of keys and parameters.
        settings: how long and how much.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        store: FirstCalls,
        *,
        sealer: Sealer,
        digest_key: bytes,
        settings: ResultSettings,
        clock: Clock = time.time,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._scribe = Scribe(digest_key)
        self._settings = settings
        self._clock = clock
        self._cache = Cache(settings.cache_bytes)

    async def earlier(
        self, record: CallRecord, principal: Principal, target: Target, catalogue: int
    ) -> Earlier | None:
        """The answer to this very call, if it was made before; it is noted in the record.

        Raises:
            InvalidRequest: the key is none, or was sent with another call.
            Conflict: the first call with the key is still open.
        """
        key = record.call.meta.get(IDEMPOTENCY_KEY)
        if key is not None:
            record.repeats = await self._repeated(record, principal, target, key)
        elif cacheable(target):
            policy = record.decision.policy if record.decision else ""
            method, params = record.call.method, record.params
            record.read_as = key_of(principal, method, target, params, policy=policy, catalogue=catalogue)
            record.repeats = self._read_before(record.read_as)
        return record.repeats

    def keep(self, record: CallRecord) -> None:
        """Keep the answer that has just come, for those who may want it again."""
        answer, target = record.answer, record.target
        if answer is None or target is None or record.repeats is not None:
            return
        if record.claim is not None:
            record.sealed = self._seal(record.call.id, answer)
        elif record.read_as is not None:
            self._cache.keep(record.read_as, record.call.id, answer, target.cache_s)

    async def _repeated(
        self, record: CallRecord, principal: Principal, target: Target, key: object
    ) -> Earlier | None:
        claim = self._claim(record, principal, target, key)
        first = await self._store.first(claim.id)
        if first is None:
            record.claim = claim
            return None
        check(first, claim.fingerprint)
        return self._opened(first)

    def _claim(self, record: CallRecord, principal: Principal, target: Target, key: object) -> Claim:
        if not isinstance(key, str) or not 1 <= len(key) <= MOST_CHARS or not key.isprintable():
            raise InvalidRequest(
                f"`{IDEMPOTENCY_KEY}` is not a text of 1 to {MOST_CHARS} printable characters",
                hint="use a fresh UUID for each call that may be sent again",
            )
        who = [principal.organisation, principal.subject, [actor.id for actor in principal.actors]]
        what = [record.call.method, target.kind, target.name, self._scribe.commitment(record.params)]
        return Claim(
            id=self._digest({"key": [*who, key]}),
            fingerprint=self._digest({"call": what}),
            agent=principal.agent.id,
            expires_at=int(self._clock()) + self._settings.kept_s,
        )

    def _digest(self, parts: dict[str, object]) -> bytes:
        return bytes.fromhex(self._scribe.commitment(parts)["hmac"])

    def _seal(self, call: str, answer: Answer) -> str | None:
        said = json.dumps(answer.body)  # as text: what no record can hold is kept too
        if len(said) > self._settings.most_bytes:
            return None
        return self._sealer.seal(_purpose(call), {"body": said}, self._settings.kept_s)

    def _opened(self, first: First) -> Earlier:
        why = "idempotency_key"
        if first.sealed is None:
            return Earlier(first.call, why, lost=first.state is State.LOST)
        body = json.loads(self._sealer.open(_purpose(first.call), first.sealed)["body"])
        return Earlier(first.call, why, Answer(body, FREE))

    def _read_before(self, key: Hashable | None) -> Earlier | None:
        found = None if key is None else self._cache.find(key)
        return None if found is None else Earlier(found.call, "cache", Answer(orjson.loads(found.body), FREE))


def _purpose(call: str) -> str:
    return f"result of {call}"
