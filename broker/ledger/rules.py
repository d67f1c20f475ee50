"""Which budgets and rates has the operator set? `policies/budgets/*.yaml`.

    time_zones: {acme: Europe/Berlin}     # where days and months of an organisation begin; default: UTC
    budgets:
      - scope: "agent:*"                  # <kind>:<name>; `*` stands for any text, each match has its own
        window: day                       # total, minute, hour, day, month, or rolling: 90m, 24h, 30d
        usd: "5"                          # at least one of usd (as text), calls, tokens, open
        calls: 2000
        warn: [50, 80]                    # percentages at which it is recorded that so much is used
        slow_from: 90                     # from here on calls wait, the longer the less is left
    rates:
      - {scope: "agent:*", calls: 120, per: minute, burst: 20}
      - {scope: "address:*", calls: 600, per: minute}     # where calls come from; kept as a keyed hash

All that fit a call count; none takes another's place.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from broker.documents import Node, did_you_mean, read_yaml
from broker.ledger.interface import Unit
from broker.ledger.windows import NAMES, Window, window_of
from broker.patterns import matches

KINDS = ("organisation", "team", "agent", "role", "connector", "tool", "model", "task", "address")
_PER_US = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000}
_CALL_CAP = 10**12
_DEAREST_USD = 10**9
_WARN = (80,)


@dataclass(frozen=True, slots=True)
class ScopePattern:
    """Which scopes of one kind a rule is for."""

    kind: str
    glob: str

    def of(self, names: Mapping[str, Collection[str]]) -> list[str]:
        """The scopes above a call that fit; `names` are all, by kind."""
        return [f"{self.kind}:{name}" for name in names[self.kind] if matches(self.glob, name)]


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """One entry of `budgets`; `place` is its file and line."""

    scope: ScopePattern
    window: Window
    caps: Mapping[Unit, int]
    warn: tuple[int, ...]
    slow_from: int | None
    place: str


@dataclass(frozen=True, slots=True)
class RateRule:
    """One entry of `rates`."""

    scope: ScopePattern
    interval_us: int
    burst: int
    place: str


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """Everything in `budgets/`."""

    budgets: tuple[BudgetRule, ...] = ()
    rates: tuple[RateRule, ...] = ()
    zones: Mapping[str, tzinfo] = field(default_factory=dict[str, tzinfo])

    @property
    def by_address(self) -> bool:
        """Whether any rule tells addresses apart."""
        return any(rule.scope.kind == "address" for rule in (*self.budgets, *self.rates))

    def zone(self, organisation: str) -> tzinfo:
        """Where the days of an organisation begin."""
        return self.zones.get(organisation, UTC)


def load_budgets(policies_dir: Path) -> BudgetRules:
    """The rules in all files of `budgets/`, in order of file name.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    budgets: list[BudgetRule] = []
    rates: list[RateRule] = []
    zones: dict[str, tzinfo] = {}
    for path in sorted((policies_dir / "budgets").glob("*.yaml")):
        name = "/".join(path.parts[-3:])
        root = read_yaml(path, name).mapping(("time_zones", "budgets", "rates"))
        budgets += [_budget(item) for item in root["budgets"].items()] if "budgets" in root else []
        rates += [_rate(item) for item in root["rates"].items()] if "rates" in root else []
        for key, value in root["time_zones"].pairs() if "time_zones" in root else []:
            zones[key.text()] = _zone(value)
    return BudgetRules(tuple(budgets), tuple(rates), zones)


def _budget(node: Node) -> BudgetRule:
    keys = ("scope", "window", *Unit, "warn", "slow_from")
    fields = node.mapping(keys, required=("scope", "window"))
    caps = {unit: _cap(unit, fields[unit]) for unit in Unit if unit in fields}
    if not caps:
        raise node.error("caps nothing", "give `usd`, `calls`, `tokens` or `open`")
    if Unit.OPEN in caps and fields["window"].text() != "total":
        raise fields[Unit.OPEN].error("`open` caps calls in flight, at any time", "write `window: total`")
    return BudgetRule(
        scope=_scope(fields["scope"]),
        window=_window(fields["window"]),
        caps=caps,
        warn=tuple(sorted({_percent(n) for n in fields["warn"].items()})) if "warn" in fields else _WARN,
        slow_from=_percent(fields["slow_from"]) if "slow_from" in fields else None,
        place=node.place,
    )


def _window(node: Node) -> Window:
    text = node.text()
    window = window_of(text)
    if window is None:
        hint = did_you_mean(text, NAMES) or f"one of {', '.join(NAMES)}, or a length such as `24h`"
        raise node.error(f"`{text}` is not a window", hint)
    return window


def _rate(node: Node) -> RateRule:
    fields = node.mapping(("scope", "calls", "per", "burst"), required=("scope", "calls", "per"))
    per = _PER_US[fields["per"].one_of(_PER_US)]
    calls = _number(fields["calls"], most=per)
    burst = _number(fields["burst"], most=1_000_000) if "burst" in fields else calls
    return RateRule(_scope(fields["scope"]), -(-per // calls), burst, node.place)


def _scope(node: Node) -> ScopePattern:
    kind, colon, glob = node.text().partition(":")
    if kind not in KINDS or not colon or not glob:
        raise node.error(
            f"`{node.text()}` is not a scope",
            did_you_mean(kind, KINDS) or f"`<kind>:<name>` with one of {', '.join(KINDS)}, e.g. `agent:*`",
        )
    if kind == "address" and glob != "*":
        raise node.error("addresses are kept as keyed hashes only", 'write "address:*": each has its own')
    return ScopePattern(kind, glob)


def _cap(unit: Unit, node: Node) -> int:
    return _micro(node) if unit is Unit.USD else _number(node, most=_CALL_CAP, least=0)


def _micro(node: Node) -> int:
    text = node.text()
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise node.error(f"`{text}` is not an amount of money", 'write dollars, e.g. "5.00"') from None
    if not usd.is_finite() or not 0 <= usd <= _DEAREST_USD or usd * 1_000_000 % 1:
        raise node.error(f"`{text}` is not a cap", f"use 0 to {_DEAREST_USD}, at most six decimals")
    return int(usd * 1_000_000)


def _percent(node: Node) -> int:
    return _number(node, most=99)


def _number(node: Node, *, most: int, least: int = 1) -> int:
    text = str(node.yaml.value)
    if node.yaml.tag != "tag:yaml.org,2002:int" or not re.fullmatch(r"[0-9][0-9_]*", text):
        raise node.error(f"`{text}` is not a whole number", "write digits without quotes, e.g. 120")
    if not least <= int(text) <= most:
        raise node.error(f"{text} is out of range", f"use {least} to {most}")
    return int(text)


def _zone(node: Node) -> tzinfo:
    try:
        return ZoneInfo(node.text())
    except (ZoneInfoNotFoundError, ValueError):
        raise node.error(f"`{node.text()}` is not a time zone", "name one as `Europe/Berlin`") from None
