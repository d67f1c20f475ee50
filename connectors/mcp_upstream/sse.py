"""What events are in this stream so far? An incremental parser of `text/event-stream` (WHATWG HTML §9.2)."""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """One event is larger than the limit."""


class EventParser:
    """Fed with chunks as they come, it gives the data of the events that are complete. Linear.

    Only events of type `message` count, unless all do. `last_id` and `retry_ms` are what it said last.

    Args:
        limit: bytes of the largest event.
        every_type: whether events of other types count too.
    """

    def __init__(self, limit: int, *, every_type: bool = False) -> None:
        self._limit = limit
        self._every_type = every_type
        self._buffer = bytearray()
        self._searched = 0
        self._begun = False
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._type = ""
        self.last_id: str | None = None
        self.retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk; give the data of the events it completes.

        Raises:
            EventTooLarge: an event exceeds the limit.
        """
        self._buffer += chunk
        if not self._begun and not self._begin():
            return []
        events: list[bytes] = []
        start = 0
        while match := _LINE_END.search(self._buffer, max(start, self._searched)):
            line = bytes(self._buffer[start : match.start()])
            blank_after_cr = self._after_cr and match[0] == b"\n" and not line
            self._after_cr = match[0] == b"\r" and match.end() == len(self._buffer)
            start = match.end()
            if not blank_after_cr and (event := self._line(line)) is not None:
                events.append(event)
        del self._buffer[:start]
        self._searched = len(self._buffer)
        if self._buffer:
            self._after_cr = False
        if self._size + len(self._buffer) > self._limit:
            raise EventTooLarge(f"an event is larger than {self._limit} bytes")
        return events

    def _begin(self) -> bool:
        """Skip a byte order mark, once enough has come to see whether there is one."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return False
        self._buffer = self._buffer.removeprefix(_BOM)
        self._begun = True
        return True

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
                self._size += len(value)
            case b"event":
                self._type = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace") or None
            case b"retry" if value.isdigit():
                self.retry_ms = int(value)
            case _:
                pass
        return None

    def _dispatch(self) -> bytes | None:
        data, kind = self._data, self._type
        self._data, self._type, self._size = [], "", 0
        if not data or (kind not in ("", "message") and not self._every_type):
            return None
        return b"\n".join(data)
