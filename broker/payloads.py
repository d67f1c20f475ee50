"""Who may look at what was said, and how is it forgotten? Every look and every erasure leaves a record first.

A record about a person names only their pseudonym. After an erasure nothing leads from it to anybody.
"""

from collections.abc import Sequence

from broker.audit.interface import Entry, Event, Facts
from broker.audit.payloads import About, Erased, Opened, Part, PayloadStore, Subject, SubjectId
from broker.errors import InvalidRequest, UnknownTarget


class Payloads:
    """Reads and erases what is kept of calls and people, and writes down who did it and why.

    Args:
        store: where it is kept.
    """

    def __init__(self, store: PayloadStore) -> None:
        self._store = store

    async def read(self, call: str, *, by: str, reason: str) -> Sequence[Opened]:
        """What was said in a call. That it is read is in the log before anybody has it.

        Args:
            call: its id.
            by: who reads it.
            reason: why; goes into the log.

        Raises:
            UnknownTarget: nothing is kept of it, or not any more.
            InvalidRequest: no reason is given.
        """

        def entry(log: str, parts: Sequence[Part]) -> Entry:
            facts: Facts = {"read": call, "parts": list(parts), "by": by, "reason": _given(reason)}
            return Entry(log, Event.PAYLOAD_ACCESSED, facts)

        _given(reason)
        found = await self._store.read(call, entry)
        if not found:
            raise UnknownTarget(
                f"nothing is kept of what was said in the call `{call}`",
                hint="there is no such call, or its time is over, or somebody it was about has been erased",
            )
        return found

    async def subjects(self) -> Sequence[Subject]:
        """All people who are known."""
        return await self._store.subjects()

    async def about(self, who: str, *, log: str | None, by: str, basis: str) -> Sequence[About]:
        """Everything that is kept about a person (GDPR 15, 20); the record of that comes first.

        Args:
            who: what names them, or their pseudonym.
            log: only in this organisation.
            by: who asks for it.
            basis: on what grounds; goes into the log.

        Raises:
            UnknownTarget: nothing is kept about them.
            InvalidRequest: no basis is given.
        """

        def entry(subject: Subject, parts: Sequence[Part]) -> Entry:
            facts: Facts = {
                "subject": subject.id,
                "payloads": len(parts),
                "by": by,
                "basis": _given(basis),
            }
            return Entry(subject.log, Event.SUBJECT_EXPORTED, facts)

        _given(basis)
        return await self._store.about(who, log, entry)

    async def erase(self, who: str, *, log: str | None, by: str, basis: str) -> Sequence[Erased]:
        """Destroy everything that is kept about a person (GDPR 17), for good, and record that.

        Args:
            who: what names them, or their pseudonym.
            log: only in this organisation.
            by: who does it.
            basis: on what grounds; goes into the log.

        Raises:
            UnknownTarget: nothing is kept about them.
            InvalidRequest: no basis is given.
        """

        def entry(subject: SubjectId, of: str, payloads: int) -> Entry:
            facts: Facts = {"subject": subject, "payloads": payloads, "by": by, "basis": _given(basis)}
            return Entry(of, Event.SUBJECT_ERASED, facts)

        _given(basis)
        return await self._store.erase(who, log, entry)


def _given(reason: str) -> str:
    text = reason.strip()
    if not text or len(text) > 500:
        raise InvalidRequest(
            "say why, in at most 500 characters: it goes into the log", hint="never name the person in it"
        )
    return text
