"""Is a text safe to pass on while it is still being written? For completions and long results.

What leaves depends on the text alone, never on how it was cut into chunks: it is looked at whenever certain
numbers of characters have arrived, and those numbers follow from the text. The last characters are held
back, because they may be the beginning of something; so is all of a key or an encoded run that has not ended
yet. What a guard blocks ends the stream before any of it has left.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from broker.errors import Blocked
from broker.guardrails.armed import UNREAD
from broker.guardrails.interface import Action
from broker.guardrails.spans import Verdict, resolve

HELD_BACK = 256
"""Characters at the end that may still become part of a finding."""
READ_AGAIN = 1024
"""Characters before the held ones that are read with them: what stands before a value may tell what it is."""
STEP = 128
"""Characters after which a text is looked at again."""
MOST_HELD = 64 << 10
"""Characters of a key or an encoded run that are held until it ends."""

_BEGIN, _END = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}"), "-----END"
_RUN = re.compile(r"[A-Za-z0-9+/=_.%-]{40,}\Z")

Look = Callable[[str], Sequence[Verdict]]
Settle = Callable[[str, Sequence[Verdict]], str]


class ScreenedText:
    """One text in the making. Keeps the state of this stream, and of no other.

    Args:
        look: what the guards find in a text.
        settle: records what was found in a piece and returns it as it may be passed on; raises `Blocked`.
        limit: characters after which nothing more is read.
    """

    def __init__(self, look: Look, settle: Settle, limit: int) -> None:
        self._look = look
        self._settle = settle
        self._limit = limit
        self._text = ""
        self._offset = 0
        """Where in the whole text `_text` begins."""
        self._released = 0
        """How much of `_text` has been passed on."""
        self._due = STEP
        """How long `_text` is when it is looked at next."""
        self._noted: dict[tuple[int, str], int] = {}
        """Up to where findings that change nothing are recorded, by guard and type."""
        self._ended = False

    def feed(self, chunk: str) -> str:
        """Take the next characters; returns those that may be passed on now.

        Raises:
            Blocked: a guard stops the stream, or it is too long. Nothing more may be fed.
        """
        if self._ended:
            raise Blocked("the stream has ended", hint="begin another one")
        out: list[str] = []
        while chunk:
            room = self._due - len(self._text)
            self._text += chunk[:room]
            chunk = chunk[room:]
            if len(self._text) == self._due:
                out.append(self._advance(len(self._text) - HELD_BACK))
        return "".join(out)

    def close(self) -> str:
        """The text has ended: what was held back, as it may be passed on.

        Raises:
            Blocked: as `feed`.
        """
        if self._ended:
            return ""
        out = self._advance(len(self._text), last=True)
        self._ended = True
        return out

    def _advance(self, until: int, *, last: bool = False) -> str:
        self._ended = True  # unless all goes well
        if self._offset + len(self._text) > self._limit:
            raise Blocked(f"the stream is longer than {self._limit} characters", hint="ask for less")
        verdicts = resolve(self._look(self._text))
        if not last:
            until = self._safe_until(until, verdicts)
        out = ""
        if until > self._released or last:
            out = self._settle(self._text[self._released : until], self._here(verdicts, until))
            self._released = max(until, self._released)
        self._forget()
        self._ended = False
        return out

    def _safe_until(self, until: int, verdicts: Sequence[Verdict]) -> int:
        """How far the text may leave: no finding that changes it is cut, and nothing unfinished begins."""
        if len(self._text) - self._released < MOST_HELD:
            until = min(until, _unfinished(self._text, self._released))
        for verdict in reversed(verdicts):
            if verdict.action is not Action.FLAG and verdict.start < until < verdict.end:
                until = verdict.start
        return until

    def _here(self, verdicts: Sequence[Verdict], until: int) -> list[Verdict]:
        """The verdicts about the part that leaves now, in its offsets, each finding once."""
        here: list[Verdict] = []
        for verdict in verdicts:
            key = (verdict.guard, verdict.type)
            if verdict.type == UNREAD:
                if key not in self._noted:
                    self._noted[key] = 0
                    here.append(verdict)
                continue
            if verdict.start >= until or verdict.end <= self._released:
                continue
            if verdict.action is Action.FLAG:
                if self._offset + verdict.start < self._noted.get(key, 0):
                    continue
                self._noted[key] = self._offset + verdict.end
            start = max(verdict.start, self._released) - self._released
            here.append(replace(verdict, start=start, end=verdict.end - self._released))
        return here

    def _forget(self) -> None:
        """Drop what is not read again, and say when to look next: the later, the more is held."""
        if (drop := self._released - READ_AGAIN) > 0:
            self._text = self._text[drop:]
            self._offset += drop
            self._released -= drop
        held = len(self._text) - self._released
        self._due = len(self._text) + max(STEP, (held - HELD_BACK) // 4)


def _unfinished(text: str, start: int) -> int:
    """Where a key or an encoded run begins that has not ended; the end of the text if there is none."""
    at = len(text)
    for begin in _BEGIN.finditer(text, max(0, start - HELD_BACK)):
        if text.find(_END, begin.end()) < 0:
            at = begin.start()
            break
    run = _RUN.search(text, start)
    return max(start, min(at, run.start() if run else at))
