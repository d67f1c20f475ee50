"""When is the end of a log vouched for? Every minute, every thousand records, and when the broker stops.

Not with every commit: a signature costs more than a record does. What no signed checkpoint covers
yet is covered by the receipts that callers hold.
"""

import logging
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from broker.audit.checkpoint import BadNote, Checkpoint, Note, Signer
from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts, Log, LogHead
from broker.audit.publication import Publication
from broker.errors import ConfigurationError, StorageUnavailable

EVERY_S = 60.0
EVERY_RECORDS = 1000

_logger = logging.getLogger(__name__)


class Publisher:
    """Signs the heads of logs that have grown. One per deployment's store is enough, more do no harm.

    Args:
        log: where heads are read and notes are kept.
        signer: the deployment's key.
        publication: where notes are written outside the store too.
        renew: the key that signs by now; asked before each look, as it may have been rotated.
        look_every_s: seconds between two looks at the heads.
        monotonic: seconds that never run backwards.
    """

    def __init__(
        self,
        log: Log,
        signer: Signer,
        *,
        publication: Publication | None = None,
        renew: Callable[[], Awaitable[Signer]] | None = None,
        look_every_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._signer = signer
        self._publication = publication
        self._renew = renew
        self._look_every_s = look_every_s
        self._monotonic = monotonic
        self._signed: dict[str, int] = {}
        self._last = monotonic()

    async def run(self) -> None:
        """Publish what is due until cancelled, and all that is left then."""
        try:
            while True:
                await self._try(self.publish_due)
                await anyio.sleep(self._look_every_s)
        finally:
            with anyio.CancelScope(shield=True):
                await self._try(self.publish)

    async def publish_due(self) -> int:
        """Sign what a minute or a thousand records have added; the number of checkpoints signed."""
        now = self._monotonic()
        heads = await self._log.logs()
        if now - self._last >= EVERY_S:
            self._last = now
            return await self._sign(heads, at_least=1)
        return await self._sign(heads, at_least=EVERY_RECORDS)

    async def publish(self) -> int:
        """Sign every log that has grown since its last checkpoint; the number of checkpoints signed."""
        self._last = self._monotonic()
        return await self._sign(await self._log.logs(), at_least=1)

    async def _sign(self, heads: list[LogHead], *, at_least: int) -> int:
        count = 0
        if self._renew is not None:
            self._signer = await self._renew()
        for head in heads:
            if head.name != SYSTEM_LOG:
                count += await self._sign_one(head, at_least=at_least)
        # Last, so that one checkpoint of the system log vouches for those of all others.
        heads = await self._log.logs() if count else heads
        for head in heads:
            if head.name == SYSTEM_LOG:
                count += await self._sign_one(head, at_least=1 if count else at_least)
        if self._publication is not None:
            await self._publish(heads, self._publication)
        return count

    async def _sign_one(self, head: LogHead, *, at_least: int) -> int:
        if head.size - await self._signed_size(head) < at_least:
            return 0
        await _sign_and_tell(self._log, self._signer, head)
        self._signed[head.name] = head.size
        return 1

    async def _publish(self, heads: list[LogHead], publication: Publication) -> None:
        """Write what the file lacks; a file that cannot be written now gets it at the next look."""
        for head in heads:
            if await self._signed_size(head) <= publication.size(head.origin):
                continue
            for note in await self._log.checkpoints(head.name):
                if _size_of(note) > publication.size(head.origin):
                    try:
                        await anyio.to_thread.run_sync(publication.append, note)
                    except OSError as error:
                        _logger.warning("a checkpoint could not be published: %s", error)
                        return

    async def _signed_size(self, head: LogHead) -> int:
        if head.name not in self._signed:
            notes = await self._log.checkpoints(head.name)
            self._signed[head.name] = _size_of(notes[-1]) if notes else 0
        return self._signed[head.name]

    async def _try(self, publish: Callable[[], Awaitable[int]]) -> None:
        """A store that is down now is tried again at the next look."""
        try:
            await publish()
        except (ConfigurationError, StorageUnavailable) as error:
            _logger.warning("no checkpoint could be signed: %s", error.message)


async def newest_note(log: Log, signer: Signer, head: LogHead) -> str:
    """The newest signed note of a log, signed now if the log has grown since the last one.

    Where the log is no longer than what was signed, the note of then stands: the key never signs
    two roots of one size, nor a log that has become shorter.

    Args:
        log: where notes are kept; a new one is kept there too.
        signer: the deployment's key.
        head: where the log stands.
    """
    for note in reversed(await log.checkpoints(head.name)):
        if _size_of(note) < head.size:
            continue
        said = Note.parse(note)
        if said.checkpoint.origin == head.origin and said.verified_by([signer.public]):
            return note
    note = signer.sign(Checkpoint(head.origin, head.size, head.root))
    await log.save_checkpoint(head.name, head.size, note)
    return note


async def _sign_and_tell(log: Log, signer: Signer, head: LogHead) -> None:
    """Sign where a log stands. The system log tells of it, so that no other log can go back alone."""
    facts: Facts = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
    leaf = None if head.name == SYSTEM_LOG else Entry(SYSTEM_LOG, Event.TENANT_CHECKPOINT, facts)
    note = signer.sign(Checkpoint(head.origin, head.size, head.root))
    await log.save_checkpoint(head.name, head.size, note, leaf)


def _size_of(note: str) -> int:
    """How much a note covers; nothing if it was spoilt, which is for the verifier to say."""
    try:
        return Note.parse(note).checkpoint.size
    except BadNote:
        return 0
