"""How does a log collector read it? One line in the Common Event Format (ArcSight CEF, version 0)."""

from broker.audit.feeds.told import Told

_SEVERITIES = {"ok": 1, "pending_approval": 3, "denied": 6, "blocked": 8, "over_budget": 5}


def line(one: Told) -> str:
    """One thing that happened, on one line."""
    kind = str(one.last["type"])
    severity = _SEVERITIES.get(one.outcome, 4) if one.is_call else 6 if kind.endswith("refused") else 2
    head = (
        "toolbroker.io",
        "MCP tool broker",
        "1",
        kind,
        one.outcome if one.is_call else kind,
        str(severity),
    )
    return "|".join(["CEF:0", *map(_header, head), _extension(one)])


def _extension(one: Told) -> str:
    what, error = one.part("what"), one.last.get("error")
    because = ", ".join(one.part("error", last=True).get("because", ())) if one.is_call else error
    fields = {
        "rt": one.ended_us // 1000,
        "start": one.began_us // 1000,
        "suid": one.agent,
        "act": what.get("name"),
        "requestMethod": what.get("method"),
        "destinationServiceName": what.get("connector"),
        "outcome": one.outcome if one.is_call else None,
        "reason": because,
        "externalId": one.id,
        "cs1Label": "call" if one.is_call else None,
        "cs1": one.last.get("call"),
        "cs2Label": "leaf",
        "cs2": one.leaf.hex(),
        "cn1Label": "costMicroUsd" if one.is_call else None,
        "cn1": one.last.get("cost") if one.is_call else None,
    }
    return " ".join(f"{key}={_value(value)}" for key, value in fields.items() if value not in {None, ""})


def _header(text: str) -> str:
    return " ".join(text.splitlines()).replace("\\", "\\\\").replace("|", "\\|")


def _value(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("=", "\\=")
    return text.replace("\r", "\\r").replace("\n", "\\n")
