"""What does an event stream say? The data of each event (WHATWG HTML §9.2.6), without size limits."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass


@dataclass(slots=True)
class Position:
    """How far a stream was read, and when to come back for the rest if it ends early (SEP-1699)."""

    last_id: str | None = None
    retry_s: float = 1.0


async def event_data(chunks: AsyncIterable[bytes], position: Position | None = None) -> AsyncIterator[bytes]:
    """The data of every event that has some, its lines joined by newlines; `position` follows."""
    lines: list[bytes] = []
    async for line in _lines(chunks):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
        elif not line:
            data, lines = b"\n".join(lines), []
            if data:
                yield data
        elif position is not None:
            _follow(position, name, value.removeprefix(b" "))


def _follow(position: Position, name: bytes, value: bytes) -> None:
    if name == b"id":
        position.last_id = value.decode("ascii", "replace")
    elif name == b"retry" and value.isdigit():
        position.retry_s = int(value) / 1000


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Complete lines, ended by LF or CRLF. A big line is collected in pieces and joined once."""
    pieces: list[bytes] = []
    async for chunk in chunks:
        head, *tail = chunk.split(b"\n")
        pieces.append(head)
        for piece in tail:
            yield b"".join(pieces).removesuffix(b"\r")
            pieces = [piece]
