"""What in the log speaks against an agent? Watchers from records to signs, for what needs no baseline."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from broker.trust.interface import SECOND_US, Record, Sign

PROBING_TOOLS = 3
"""So many different tools refused in two slots are probing."""

SLOT_US = 5 * 60 * SECOND_US
MINUTE_US = 60 * SECOND_US

LEAST_BURST = 60
"""A minute with fewer calls is no burst."""

_STRANGE = frozenset({"untrusted", "quoted"})
"""Origins of a destination that whoever wrote a result has put there."""

_HIGH = ("secrets", "exfiltration")
_REFUSED = "call.denied"
_INTENT = "call.intent"
_HONEYTOOL = "trust/honeytool"
_STRANGE_RULE = "strange-destination"
_BEGUN = frozenset({_INTENT, _REFUSED})


def watchers() -> list["Refusals | Findings | Provenance | Burst | Hard"]:
    """All that is watched without a baseline, for one log."""
    return [Refusals(), Findings(), Provenance(), Burst(), Hard()]


class Refusals:
    """What an agent asked for and may not have; many different tools in a short time are probing."""

    _RULES: Mapping[str, str] = {
        "denied": "denied",
        "unknown_target": "denied",
        "over_budget": "budget-stop",
        "rate_limited": "budget-stop",
        "invalid_request": "malformed",
    }

    def __init__(self) -> None:
        self._tools: dict[tuple[str, int], set[str]] = {}

    def see(self, record: Record) -> Iterator[Sign]:
        """One sign for the refusal, one for each slot in which it becomes probing."""
        if record.type != _REFUSED or record.agent is None or record.body.get("outcome") == "cancelled":
            return
        error = record.body.get("error", {})
        rule = self._RULES.get(str(error.get("code")))
        if rule is None or _by_trust(error):
            return
        yield _sign(rule, record)
        if rule == "denied":
            yield from self._probing(record, record.agent)

    def _probing(self, record: Record, agent: str) -> Iterator[Sign]:
        slot = record.at // SLOT_US
        self._tools = {at: names for at, names in self._tools.items() if at[1] >= slot - 2}
        self._tools.setdefault((agent, slot), set()).add(record.body["what"]["name"])
        for first in (slot - 1, slot):
            pair = [self._tools.get((agent, each), set[str]()) for each in (first, first + 1)]
            if len(pair[0] | pair[1]) >= PROBING_TOOLS:
                yield Sign("probing", agent, (first + 1) * SLOT_US, record.seq, _call(record), str(first))


class Findings:
    """What guards have stopped in what an agent sends. What they find in results is not its doing."""

    def see(self, record: Record) -> Iterator[Sign]:
        """One sign for the worst finding of a call."""
        if record.type not in _BEGUN or record.agent is None:
            return
        found = [f for f in record.body.get("findings", []) if f["stage"] == "arguments"]
        stopped = [f for f in found if f["action"] in ("block", "approve", "redact")]
        if any(f["guard"].split("@")[0] in _HIGH and f["action"] == "block" for f in stopped):
            yield _sign("leak-stopped", record)
        elif any(f["action"] == "block" for f in stopped):
            yield _sign("content-blocked", record)
        elif stopped:
            yield _sign("content-mended", record)


class Provenance:
    """Writes to a destination that came out of content which anybody may have written.

    A human who is asked and agrees knows of the destination: then nothing speaks against the agent.
    """

    def see(self, record: Record) -> Iterator[Sign]:
        """One sign for each such call, made or refused; calls that are held for one approval are one."""
        if record.type not in _BEGUN or record.agent is None:
            return
        approval = record.body.get("approval")
        if approval is not None and record.type == _INTENT:
            yield replace(_sign(_STRANGE_RULE, record), key=approval, withdrawn=True)
            return
        if record.body.get("what", {}).get("side_effect", "reads") == "reads":
            return
        situation = record.body.get("decision", {}).get("situation", {})
        origins = cast("Mapping[str, str]", situation.get("provenance", {}))
        for argument in situation.get("arguments", []):
            if argument.get("role") == "destination" and origins.get(argument["name"]) in _STRANGE:
                yield replace(_sign(_STRANGE_RULE, record), key=approval)
                return


class Burst:
    """Minutes with far more calls than the minutes before: over four deviations of a Poisson process."""

    def __init__(self) -> None:
        self._minute: dict[str, int] = {}
        self._calls: Counter[str] = Counter()
        self._usual: dict[str, int] = {}  # a moving mean over 8 minutes with calls, in 1/256

    def see(self, record: Record) -> Iterator[Sign]:
        """One sign for each such minute."""
        agent = record.agent
        if record.type not in _BEGUN or agent is None:
            return
        minute = record.at // MINUTE_US
        if minute > self._minute.get(agent, -1):
            self._next(agent, minute)
        self._calls[agent] += 1
        calls, usual = self._calls[agent], self._usual.get(agent)
        if usual is None or calls < LEAST_BURST:
            return
        over = (calls << 8) - usual
        if over > 0 and over * over > 16 * (usual << 8):
            yield Sign("burst", agent, minute * MINUTE_US, record.seq, _call(record), str(minute))

    def _next(self, agent: str, minute: int) -> None:
        if agent in self._minute:
            last = self._calls[agent] << 8
            usual = self._usual.get(agent, last)
            self._usual[agent] = usual + (last - usual) // 8
        self._minute[agent] = minute
        self._calls[agent] = 0


class Hard:
    """What no honest agent does."""

    def see(self, record: Record) -> Iterator[Sign]:
        """A sign that quarantines."""
        if record.agent is None:
            return
        error = record.body.get("error")
        if record.type == _REFUSED and isinstance(error, dict) and _HONEYTOOL in error["because"]:
            yield _sign("honeytool", record)


def _by_trust(error: Mapping[str, Any]) -> bool:
    """Whether trust itself was the reason: a low score must not lower itself further."""
    return any(str(rule).startswith("trust/") for rule in error.get("because", []))


def _sign(rule: str, record: Record) -> Sign:
    return Sign(rule, str(record.agent), record.at, record.seq, _call(record))


def _call(record: Record) -> str | None:
    return record.body.get("call")
