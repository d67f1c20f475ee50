"""What must be durable together when a tool's definition is approved or doubted: the pin and its record."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol

from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts
from broker.catalog.pins import Admitted, Pin, Suspect, admitted, judge
from broker.errors import InvalidRequest, UnknownTarget
from broker.model import Json

_EACH = 100
"""Definitions named in one record: records are bounded."""

Review = Callable[[Sequence[Pin]], tuple[Sequence[Pin], Sequence[Entry]]]
"""Given all pins, those that become different ones, and what is recorded about it."""


class PinStore(Protocol):
    """What this needs from a backend.

    Raises (all methods):
        StorageUnavailable: nothing can be read or written now.
    """

    async def pins(self, connector: str | None = None) -> Sequence[Pin]:
        """All pins, or those of one connector, by connector and tool."""
        ...

    async def review(self, review: Review) -> None:
        """Change pins *and* record why, in one transaction in which `review` sees all pins as they are.

        Raises:
            BrokerError: what `review` raised; nothing was changed.
        """
        ...

    async def version(self) -> int:
        """Grows with every change of a pin, whichever process makes it."""
        ...


class Definitions:
    """Decides which definitions may be served, and writes down what was decided. Implements `Approvals`.

    Args:
        store: where pins are kept.
        enabled: the connectors that are in use; the names of others are nobody's.
        suspect: what speaks against a definition by itself.
    """

    def __init__(self, store: PinStore, enabled: Collection[str], suspect: Suspect) -> None:
        self._store = store
        self._enabled = frozenset(enabled)
        self._suspect = suspect

    async def admit(
        self, connector: str, tools: Sequence[Json], exposed: Callable[[str], str], *, ask: bool
    ) -> Admitted:
        """See `Approvals.admit`."""

        def judged(known: Sequence[Pin]) -> list[Pin]:
            present = [pin for pin in known if pin.connector in self._enabled]
            return judge(connector, tools, exposed, present, ask=ask, suspect=self._suspect)

        def review(known: Sequence[Pin]) -> tuple[Sequence[Pin], Sequence[Entry]]:
            before = {(pin.connector, pin.tool): pin for pin in known}
            news = [pin for pin in judged(known) if before.get((pin.connector, pin.tool)) != pin]
            return news, _entries(connector, before, news)

        known = await self._store.pins()
        if review(known)[0]:  # most offers hold nothing new, and then nothing is written
            await self._store.review(review)
            known = await self._store.pins()
        return admitted(judged(known))

    async def version(self) -> int:
        """See `Approvals.version`."""
        return await self._store.version()

    async def pins(self, connector: str | None = None) -> Sequence[Pin]:
        """What is known of the tools of all connectors, or of one."""
        return await self._store.pins(connector)

    async def approve(self, shown: Sequence[Pin], *, by: str) -> None:
        """Serve what waits from now on.

        Args:
            shown: what the operator has looked at; only exactly that is approved.
            by: the operator.

        Raises:
            UnknownTarget: one of them is not known.
            InvalidRequest: something else waits by now; nothing was approved.
        """

        def review(known: Sequence[Pin]) -> tuple[Sequence[Pin], Sequence[Entry]]:
            now = {(pin.connector, pin.tool): pin for pin in known}
            news = [_approved(now.get((pin.connector, pin.tool)), pin, by) for pin in shown]
            return news, [
                Entry(SYSTEM_LOG, Event.DEFINITION_APPROVED, {**_of(old, new), "by": by})
                for old, new in zip(shown, news, strict=True)
            ]

        await self._store.review(review)


def _approved(now: Pin | None, shown: Pin, by: str) -> Pin:
    if now is None:
        raise UnknownTarget(f"`{shown.connector}` has no tool `{shown.tool}`")
    if now.offered_digest != shown.offered_digest or now.offered is None:
        raise InvalidRequest(
            f"`{shown.tool}` of `{shown.connector}` has changed again since it was shown",
            hint="look at it again, then approve",
        )
    return replace(
        now,
        approved=now.offered,
        digest=now.offered_digest,
        by=by,
        offered=None,
        offered_digest="",
        because="",
    )


def _entries(connector: str, before: "dict[tuple[str, str], Pin]", news: Sequence[Pin]) -> list[Entry]:
    """One record for each definition that is doubted, and one for many that are trusted."""
    doubted = [pin for pin in news if pin.waits]
    first = [pin for pin in news if not pin.waits and not _digest(before, pin)]
    entries = [
        Entry(SYSTEM_LOG, Event.DEFINITION_QUARANTINED, _of(before.get((pin.connector, pin.tool)), pin))
        for pin in doubted
    ]
    for start in range(0, len(first), _EACH):
        tools = [{"tool": _ascii(pin.tool), "digest": pin.digest} for pin in first[start : start + _EACH]]
        entries.append(
            Entry(
                SYSTEM_LOG,
                Event.DEFINITION_PINNED,
                {"connector": connector, "tools": tools, "by": "first use"},
            )
        )
    return entries


def _digest(before: "dict[tuple[str, str], Pin]", pin: Pin) -> str:
    known = before.get((pin.connector, pin.tool))
    return known.digest if known else ""


def _of(old: Pin | None, pin: Pin) -> Facts:
    facts: Facts = {
        "connector": pin.connector,
        "tool": _ascii(pin.tool),
        "pinned": old.digest if old else "",
        "offered": pin.offered_digest or pin.digest,
    }
    if pin.because:
        facts |= {"because": pin.because[:500], "serves": "pinned" if pin.serves else "nothing"}
    return facts


def _ascii(name: str) -> str:
    """A name as it can be told apart in a record: look-alikes are spelt out."""
    return name[:128].encode("ascii", "backslashreplace").decode("ascii")
