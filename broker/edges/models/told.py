"""What does the broker tell of a call beside the answer? In headers, or at the end of a stream."""

import json
from collections.abc import Mapping
from typing import Any

from broker.ledger.interface import Notice
from broker.model import CallId, Json
from broker.pipeline import Released

Headers = list[tuple[bytes, bytes]]


def identity(call: CallId) -> Headers:
    """Which call it is: for people, and where each SDK looks for the id of a request."""
    name = call.encode()
    return [(b"toolbroker-call", name), (b"x-request-id", name), (b"request-id", name)]


def limited(most: int | None) -> Headers:
    """How many tokens the model may write, where that is fewer than was wanted."""
    return [] if most is None else [(b"toolbroker-max-tokens", b"%d" % most)]


def outcome(released: Released) -> Json:
    """What is known once a call is over."""
    receipt = released.receipt
    told: Json = {"call": released.call, "cost_micro_usd": released.cost}
    if receipt is not None:
        told["receipt"] = {
            "log": receipt.log,
            "index": receipt.index,
            "leaf": receipt.leaf,
            "size": receipt.size,
        }
    if released.clamped is not None:
        told["max_tokens"] = released.clamped
    if released.notices:
        told["budget"] = [_notice(notice) for notice in released.notices]
    if released.watermark is not None:
        told["watermark"] = released.watermark
    return told


def headers(told: Mapping[str, Any]) -> Headers:
    """The outcome as headers: one each, objects as JSON in ASCII, so that no value can end its line."""
    named = ((key.replace("_", "-"), value) for key, value in told.items() if key != "call")
    return [(f"toolbroker-{name}".encode(), json.dumps(value).encode()) for name, value in named]


def comment(told: Mapping[str, Any]) -> bytes:
    """The outcome as a comment of an event stream, which every client skips that does not look for it."""
    return b": toolbroker " + json.dumps(told).encode() + b"\n\n"


def _notice(notice: Notice) -> Json:
    window = {"window": notice.window} if notice.window else {}
    spent = {"unit": notice.unit, "used_percent": notice.percent, "waited_ms": notice.wait_ms}
    return {"scope": notice.scope, **window, **spent}
