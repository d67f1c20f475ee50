"""Do the records of a log tell a possible story? Intents, ends and money, in order of sequence."""

from typing import Any

from broker.audit.agreements import Agreements
from broker.audit.interface import Event

_INTENT, _DENIED = Event.CALL_INTENT.value, Event.CALL_DENIED.value
_ENDS = frozenset({Event.CALL_OUTCOME.value, Event.CALL_UNKNOWN.value})

Account = tuple[str, str, str]
"""Scope, window and unit."""


class Meaning:
    """Reads records one after the other and says of each what cannot be true.

    Every end has one intent before it; a refused call has none; and whenever money was held, no
    cap that the record names was exceeded by what this log says is spent and held; a call was made
    for one that had begun before it; and one that stands on an approval was agreed to before, as it
    was made.

    Where the log does not begin with its first record (`whole` is False) calls may have begun before it,
    and what was spent before is not known: then neither parents, approvals nor budgets are judged.
    """

    def __init__(self) -> None:
        self.whole = True
        self._open: dict[str, tuple[int, dict[str, Any]]] = {}
        self._ended: set[str] = set()
        self._used: dict[Account, int] = {}
        self._agreements = Agreements()

    @property
    def open_calls(self) -> tuple[str, ...]:
        """Calls with an intent and no end, oldest first."""
        return tuple(self._open)

    def read(self, seq: int, body: dict[str, Any]) -> list[str]:
        """What is wrong with this record, given those before it."""
        try:
            return self._judge(seq, body)
        except (KeyError, TypeError, ValueError, AttributeError):
            return ["the record lacks what a record of its type has"]

    def _judge(self, seq: int, body: dict[str, Any]) -> list[str]:
        event = body.get("type")
        if event == _INTENT:
            return self._begin(body["call"], seq, body)
        if event == _DENIED:
            return self._refuse(body["call"])
        if event in _ENDS:
            return self._end(body["call"], body)
        if self.whole and str(event).startswith("approval."):
            return self._agreements.read(body)
        return []

    def _begin(self, call: str, seq: int, body: dict[str, Any]) -> list[str]:
        if call in self._open or call in self._ended:
            return [f"a second beginning of the call `{call}`"]
        wrong = self._misplaced(call, body.get("cause") or {})
        if self.whole and "approval" in body:
            wrong += self._agreements.begin(call, body)
        spend: dict[str, Any] = body.get("spend") or {"held": 0, "budgets": []}
        self._open[call] = (seq, spend)
        for budget in spend["budgets"]:
            held, cap = _held(spend, budget), budget["cap"]
            accounts = _accounts(budget)
            self._used[accounts[0]] = self._used.get(accounts[0], 0) + held
            used = sum(self._used.get(account, 0) for account in accounts)
            if self.whole and held and cap is not None and used > cap:
                unit = budget.get("unit", "micro-USD")
                wrong.append(f"`{budget['scope']}` held and had spent {used} of {cap} {unit}")
        return wrong

    def _misplaced(self, call: str, cause: dict[str, Any]) -> list[str]:
        """A verified parent has begun before its child, and so has the root."""
        if not self.whole:
            return []
        above = {str(one) for key in ("parent", "root") if (one := cause.get(key, call)) != call}
        missing = sorted(one for one in above if one not in self._open and one not in self._ended)
        return [f"the call `{call}` was made for `{one}`, which had not begun" for one in missing]

    def _refuse(self, call: str) -> list[str]:
        known = call in self._open or call in self._ended
        self._ended.add(call)
        return [f"the call `{call}` was refused, but it has other records"] if known else []

    def _end(self, call: str, body: dict[str, Any]) -> list[str]:
        if call not in self._open:
            if not self.whole and call not in self._ended:
                self._ended.add(call)
                return []
            again = "already has an end" if call in self._ended else "has no beginning"
            return [f"the call `{call}` {again}"]
        seq, spend = self._open.pop(call)
        self._ended.add(call)
        for budget in spend["budgets"]:
            held = _held(spend, budget)
            self._used[_accounts(budget)[0]] += _charged(body, budget, held) - held
        if body.get("intent", seq) != seq:
            return [f"the call `{call}` began with record {seq}, not {body['intent']}"]
        return []


def _accounts(budget: dict[str, Any]) -> list[Account]:
    """The balances that count against a cap, the present one first: a rolling window has several."""
    scope, window, unit = budget["scope"], budget.get("window", ""), budget.get("unit", "usd")
    parts = int(budget.get("parts", 1))
    if parts == 1:
        return [(scope, window, unit)]
    name, _, number = window.rpartition(":")
    return [(scope, f"{name}:{int(number) - part}", unit) for part in range(parts)]


def _held(spend: dict[str, Any], budget: dict[str, Any]) -> int:
    unit = budget.get("unit", "usd")
    return 1 if unit in ("calls", "open") else int(spend["tokens" if unit == "tokens" else "held"])


def _charged(body: dict[str, Any], budget: dict[str, Any], held: int) -> int:
    """What the end of a call says it cost in the unit of a budget."""
    unit = budget.get("unit", "usd")
    if unit == "open":
        return 0
    if unit == "calls":
        return int(body.get("calls", 1))
    if unit == "tokens":
        return 0 if body.get("calls") == 0 else int(body.get("tokens", held))
    return int(body["cost"])
