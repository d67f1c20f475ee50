"""How does a pin change? All that one transaction does to pins."""

import json
from collections.abc import Sequence
from typing import Any

from broker.catalog.pins import Pin
from broker.definitions import Review
from broker.model import Json
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import Logs

_COLUMNS = "connector, tool, exposed, approved, digest, approved_by, offered, offered_digest, because"
_PINS = f"select {_COLUMNS} from pin order by connector, tool"  # noqa: S608 - made of constants
_OF_CONNECTOR = f"select {_COLUMNS} from pin where connector = ? order by tool"  # noqa: S608 - made of constants


class PinBooks:
    """The writer's side of pins. Runs within a transaction of the books."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    def review(self, review: Review) -> None:
        """See `PinStore.review`."""
        news, entries = review(read_pins(self._connection))
        if not news:
            return
        for entry in entries:
            self._logs.append(entry)
        self._connection.executemany(
            f"insert or replace into pin ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - made of constants
            [_row(pin) for pin in news],
        )
        self._connection.execute("update pin_version set version = version + 1")


def read_pins(connection: Connection, connector: str | None = None) -> list[Pin]:
    """All pins, or those of one connector."""
    rows = connection.execute(_PINS) if connector is None else connection.execute(_OF_CONNECTOR, (connector,))
    return [_pin(row) for row in rows]


def _pin(row: Sequence[Any]) -> Pin:
    connector, tool, exposed, approved, digest, by, offered, offered_digest, because = row
    return Pin(
        connector, tool, exposed, _object(approved), digest, by, _object(offered), offered_digest, because
    )


def _row(pin: Pin) -> tuple[str | None, ...]:
    return (
        pin.connector,
        pin.tool,
        pin.exposed,
        _text(pin.approved),
        pin.digest,
        pin.by,
        _text(pin.offered),
        pin.offered_digest,
        pin.because,
    )


def _object(text: str | None) -> Json | None:
    return None if text is None else json.loads(text)


def _text(definition: Json | None) -> str | None:
    return None if definition is None else json.dumps(definition)  # not orjson: any JSON, numbers of any size
