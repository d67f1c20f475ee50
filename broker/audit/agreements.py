"""Was each call that stands on an approval agreed to before, as it was made? In order of sequence."""

from typing import Any

from broker.audit.interface import Event

_REACHES = ("call", "chain", "agent")
"""The narrowest first; an approval reaches no further than any of those who agreed to it wanted."""
_OVER = {
    Event.APPROVAL_DENIED.value: "denied",
    Event.APPROVAL_EXPIRED.value: "expired",
    Event.APPROVAL_REVOKED.value: "revoked",
}


class Agreements:
    """What humans have agreed to so far, and the calls made on that.

    The transaction is not compared: a task goes on under another token, so two records of it may name it
    differently.
    """

    def __init__(self) -> None:
        self._reach: dict[str, int] = {}
        self._granted: dict[str, dict[str, Any]] = {}
        self._over: dict[str, str] = {}
        self._calls: dict[str, str] = {}

    def read(self, body: dict[str, Any]) -> list[str]:
        """What is wrong with this record of an approval, given those before it."""
        event = body["type"]
        if event == Event.APPROVAL_GRANTED.value:
            self._agree(body["approval"], body)
        elif event in _OVER:
            self._over[body["approval"]] = _OVER[event]
        elif event == Event.APPROVAL_USED.value and self._calls.get(body["approval"]) != body["used_by"]:
            return [f"the call `{body['used_by']}` was not made on the approval `{body['approval']}`"]
        return []

    def begin(self, call: str, body: dict[str, Any]) -> list[str]:
        """What is wrong with a call that was made on an approval."""
        approval = body["approval"]
        made_on = f"the call `{call}` was made on the approval `{approval}`"
        before, self._calls[approval] = self._calls.get(approval), call
        granted = self._granted.get(approval)
        if granted is None:
            return [f"{made_on}, which nobody had granted"]
        if approval in self._over:
            return [f"{made_on}, which was {self._over[approval]}"]
        once = self._reach[approval] == 0
        if once and before is not None:
            return [f"{made_on}, which was for one call and used by `{before}`"]
        other = _differing(granted, body, once=once)
        return [f"{made_on}, which was granted for another {what}" for what in other]

    def _agree(self, approval: str, body: dict[str, Any]) -> None:
        reach = _REACHES.index(body["reach"])
        self._reach[approval] = min(reach, self._reach.get(approval, reach))
        if not body["missing"]:
            self._granted[approval] = body


def _differing(granted: dict[str, Any], made: dict[str, Any], *, once: bool) -> list[str]:
    """In what a call differs from what was granted. One for a single call is for its arguments and hops."""
    asked, acting = granted["actor"], made["actor"]
    differing: list[str] = []
    hops = not once or asked["grants"] == acting.get("grants", [])
    if not hops or any(asked[key] != acting[key] for key in ("agent", "subject", "chain")):
        differing.append("actor")
    if any(granted["what"][key] != made["what"].get(key) for key in ("method", "name", "connector")):
        differing.append("target")
    if once and granted["arguments"] != made.get("approved"):
        differing.append("set of arguments")
    return differing
