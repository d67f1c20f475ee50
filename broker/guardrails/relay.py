"""The open line to the caller, screened: progress, log messages, questions and their answers, streams.

What an upstream says while a call is open is read by a model like any result, and what the caller
answers to a question goes out like any argument. So both pass the same guards as the call itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from broker.errors import Blocked
from broker.formats import Delta, Format, Slot
from broker.guardrails.interface import Finding, Guards, Scene, Stage, Writing
from broker.guardrails.walk import replaced
from broker.model import Caller, Json


class ScreenedCaller:
    """A `Caller` whose traffic passes the guards in both directions.

    Args:
        caller: who reads it in the end.
        guards: read it before.
        scene: of the call.
        findings: what they find is added here.
        form: the format of its stream, where a model is asked.
    """

    def __init__(
        self,
        caller: Caller,
        guards: Guards,
        scene: Scene,
        findings: list[Finding],
        form: Format | None = None,
    ) -> None:
        self._caller = caller
        self._guards = guards
        self._scene = scene
        self._findings = findings
        self._stream = None if form is None else ScreenedStream(caller, guards, scene, findings, form)

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the caller declared."""
        return self._caller.capabilities

    @property
    def modern(self) -> bool:
        """Whether the caller speaks a revision without sessions."""
        return self._caller.modern

    async def notify(self, method: str, params: Json) -> None:
        """Pass a notification on, after screening it like a result; one that a guard blocks is dropped."""
        try:
            safe = await self._screen(params, Stage.RESULT)
        except Blocked:
            return
        await self._caller.notify(method, safe)

    async def ask(self, method: str, params: Json) -> Json:
        """Put a question, screened like a result; its answer is screened like arguments."""
        answer = await self._caller.ask(method, await self._screen(params, Stage.RESULT))
        return await self._screen(answer, Stage.ARGUMENTS)

    async def deliver(self, event: Json) -> bool:
        """Pass an event of a model's stream on, as far as its texts have been read."""
        return self._stream is not None and await self._stream.deliver(event)

    async def poll(self, retry_ms: int) -> None:
        """Have the caller come back for the rest."""
        await self._caller.poll(retry_ms)

    async def _screen(self, content: Json, stage: Stage) -> Json:
        return await self._guards.screen(content, stage, self._scene, self._findings)


class ScreenedStream:
    """The events of one stream. Every text in it is read as it grows, and its end is held back until it is.

    A text that is cut into pieces otherwise comes out the same, though in other pieces. Events that hold
    more than pieces of text are read as a whole, as they come.
    """

    def __init__(
        self, caller: Caller, guards: Guards, scene: Scene, findings: list[Finding], form: Format
    ) -> None:
        self._caller = caller
        self._guards = guards
        self._scene = scene
        self._findings = findings
        self._form = form
        self._open: dict[Slot, tuple[Writing, Json, Delta]] = {}
        """The texts that have not ended, each with the last event that held a piece of it."""

    async def deliver(self, event: Json) -> bool:
        """Screen an event and pass on what may be.

        Raises:
            Blocked: a guard stops the stream.
        """
        deltas, ends = self._form.deltas(event), self._form.ends(event)
        listens = True
        if ends:
            listens = await self._finish(ends, {delta.slot for delta in deltas})
        changes: dict[tuple[str | int, ...], str] = {}
        for delta in deltas:
            safe = self._fed(delta, event, last=_under(delta.slot, ends))
            if safe != delta.text:
                changes[delta.path] = safe
        bare = self._form.bare(event)
        if bare and deltas and len(changes) == len(deltas) and not any(changes.values()):
            return listens  # all of it is held back
        if changes:
            event = replaced(event, changes)
        if not bare:
            event = await self._whole(event, deltas)
        return await self._caller.deliver(event)

    def _fed(self, delta: Delta, event: Json, *, last: bool) -> str:
        known = self._open.get(delta.slot)
        text = known[0] if known else self._guards.stream(Stage.COMPLETION, self._scene, self._findings)
        safe = text.feed(delta.text)
        if last:
            self._open.pop(delta.slot, None)
            return safe + text.close()
        self._open[delta.slot] = text, event, delta
        return safe

    async def _finish(self, ends: Sequence[Slot], here: set[Slot]) -> bool:
        """End the texts that this event ends, in an event of their own; those in it end with it."""
        listens = True
        for slot in [s for s in self._open if _under(s, ends) and s not in here]:
            text, event, delta = self._open.pop(slot)
            if rest := text.close():
                listens = await self._caller.deliver(self._form.piece(event, delta, rest))
        return listens

    async def _whole(self, event: Json, deltas: Sequence[Delta]) -> Json:
        """An event read as it is; its pieces of text have been read already."""
        if deltas:
            return event
        findings: list[Finding] = []
        try:
            return await self._guards.screen(event, Stage.COMPLETION, self._scene, findings)
        finally:
            add_new(self._findings, findings)


def add_new(known: list[Finding], found: Sequence[Finding]) -> None:
    """Add what has not been found before: a stream is read as it grows, and as a whole in the end."""
    seen = {(f.guard, f.type, f.digest) for f in known if f.stage is Stage.COMPLETION}
    known += [f for f in found if f.stage is not Stage.COMPLETION or (f.guard, f.type, f.digest) not in seen]


def _under(slot: Slot, ends: Sequence[Slot]) -> bool:
    return any(slot[: len(end)] == end for end in ends)
