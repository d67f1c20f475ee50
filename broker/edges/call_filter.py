"""Which calls are meant? The filter language that `broker calls tail` and the operator API share.

    agent=researcher tool=notes__add outcome!=ok since=2h cost>0.01

Conditions are separated by spaces and all of them have to hold. `agent`, `tool` and `log` know `=`;
`outcome` knows `=` and `!=`, with several names separated by commas; `since` and `until` know `=`, with a
duration before now or a time (RFC 3339, UTC where it names no zone); `cost` knows `= > >= < <=`, in dollars.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from broker.audit.interface import CallFilter, Outcome
from broker.documents import did_you_mean
from broker.errors import InvalidRequest

_CONDITION = re.compile(r"([A-Za-z_]+)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DOLLARS = re.compile(r"\d{1,9}(\.\d{1,6})?")
_MICRO = 1_000_000
_EXAMPLE = "write e.g. agent=researcher outcome!=ok since=2h 'cost>0.01'"
ENDS = tuple(outcome.value for outcome in Outcome)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a filter asks for: calls of one log, or of all."""

    calls: CallFilter = field(default_factory=CallFilter)
    log: str | None = None


_Read = Callable[[Wanted, str, str, int], Wanted]


def parse_filter(conditions: Iterable[str], *, now: float) -> Wanted:
    """Read a filter.

    Args:
        conditions: texts of one or more conditions.
        now: Unix seconds; what durations are counted from.

    Raises:
        InvalidRequest: a condition is unknown, is given twice, or has no possible value.
    """
    wanted = Wanted()
    given: set[str] = set()
    for text in (word for one in conditions for word in one.split()):
        name, operator, value = _split(text)
        if f"{name}{operator}" in given or (name != "cost" and name in given):
            raise InvalidRequest(
                f"`{name}` is given twice", hint="all conditions have to hold: give each once"
            )
        given |= {name, f"{name}{operator}"}
        operators, read = _FIELDS[name]
        if operator not in operators:
            raise InvalidRequest(
                f"`{name}` cannot be compared with `{operator}`", hint=f"it knows {' '.join(operators)}"
            )
        wanted = read(wanted, operator, value, int(now * _MICRO))
    return wanted


def _split(text: str) -> tuple[str, str, str]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"`{text}` is no condition", hint=_EXAMPLE)
    name, operator, value = found.groups()
    if name not in _FIELDS:
        hint = did_you_mean(name, _FIELDS) or f"calls are filtered by {', '.join(_FIELDS)}"
        raise InvalidRequest(f"calls cannot be filtered by `{name}`", hint=hint)
    if not value:
        raise InvalidRequest(f"`{text}` has no value", hint=_EXAMPLE)
    return name, operator, value


def _agent(wanted: Wanted, _: str, value: str, __: int) -> Wanted:
    return replace(wanted, calls=replace(wanted.calls, agent=value))


def _tool(wanted: Wanted, _: str, value: str, __: int) -> Wanted:
    return replace(wanted, calls=replace(wanted.calls, tool=value))


def _log(wanted: Wanted, _: str, value: str, __: int) -> Wanted:
    return replace(wanted, log=value)


def _outcome(wanted: Wanted, operator: str, value: str, _: int) -> Wanted:
    named = frozenset(_one_outcome(name) for name in value.split(","))
    chosen = named if operator == "=" else frozenset(Outcome) - named
    return replace(wanted, calls=replace(wanted.calls, outcomes=chosen))


def _one_outcome(name: str) -> Outcome:
    if name not in ENDS:
        hint = did_you_mean(name, ENDS) or f"calls end as {', '.join(ENDS)}"
        raise InvalidRequest(f"no call ends as `{name}`", hint=hint)
    return Outcome(name)


def _since(wanted: Wanted, _: str, value: str, now: int) -> Wanted:
    return replace(wanted, calls=replace(wanted.calls, since=_time("since", value, now)))


def _until(wanted: Wanted, _: str, value: str, now: int) -> Wanted:
    return replace(wanted, calls=replace(wanted.calls, until=_time("until", value, now)))


def _time(name: str, value: str, now: int) -> int:
    """Unix microseconds."""
    if duration := _DURATION.fullmatch(value):
        return now - int(duration[1]) * _UNITS[duration[2]] * _MICRO
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(
            f"`{name}` is neither a duration nor a time: `{value}`",
            hint="write 30m, 2h, 7d or 2026-01-31T12:00:00Z",
        ) from None
    given = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(given.timestamp() * _MICRO)


def _cost(wanted: Wanted, operator: str, value: str, _: int) -> Wanted:
    if not _DOLLARS.fullmatch(value):
        raise InvalidRequest(
            f"`cost` is no amount: `{value}`", hint="write US dollars, at most six decimals: 0.01"
        )
    micros, calls = int(Decimal(value) * _MICRO), wanted.calls
    if operator in {"=", ">", ">="}:
        calls = replace(calls, least_cost=micros + (operator == ">"))
    if operator in {"=", "<", "<="}:
        calls = replace(calls, most_cost=micros - (operator == "<"))
    return replace(wanted, calls=calls)


_FIELDS: Mapping[str, tuple[tuple[str, ...], _Read]] = {
    "agent": (("=",), _agent),
    "tool": (("=",), _tool),
    "outcome": (("=", "!="), _outcome),
    "since": (("=",), _since),
    "until": (("=",), _until),
    "cost": (("=", ">", ">=", "<", "<="), _cost),
    "log": (("=",), _log),
}
