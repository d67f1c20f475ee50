"""What does it cost? Prices, budgets, rates and what the ledger needs from a backend."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

from broker.ledger.tariff import Bound, Tariff
from broker.model import MicroUSD


class Unit(StrEnum):
    """What a budget counts."""

    USD = "usd"
    """Money, in millionths of a US dollar."""
    CALLS = "calls"
    TOKENS = "tokens"
    OPEN = "open"
    """Calls in flight: one while it is open, nothing once it has ended."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One cap above a call, in one window.

    `scope` is `<kind>:<id>`, e.g. `agent:researcher`; no cap: only counted. `window` names the stretch of
    time, e.g. `day:2026-11-23`, and is kept with what is held, so that a call pays where it began; "" is
    for ever. A rolling window is made of `parts`: `window` ends with the number of the present part, and
    the parts before it count too. `warn` are percentages at which it is recorded that so much is used,
    `slow_from` the one from which calls are made to wait (None: never). `turns` is when its window does, in
    Unix seconds (None: never).
    """

    scope: str
    cap: int | None
    window: str = ""
    unit: Unit = Unit.USD
    parts: int = 1
    warn: tuple[int, ...] = ()
    slow_from: int | None = None
    turns: int | None = None

    @property
    def account(self) -> str:
        """The key of its balance in the books."""
        return self.accounts[0]

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every balance that counts against the cap, the present one first."""
        return _accounts(self.scope, self.window, self.unit, self.parts)


@lru_cache(maxsize=8192)  # asked several times for every budget above every call
def _accounts(scope: str, window: str, unit: Unit, parts: int) -> tuple[str, ...]:
    if parts == 1:
        return (account_of(scope, window, unit),)
    name, _, number = window.rpartition(":")
    return tuple(account_of(scope, f"{name}:{int(number) - part}", unit) for part in range(parts))


def account_of(scope: str, window: str = "", unit: Unit = Unit.USD) -> str:
    """The key of a balance in the books."""
    return f"{scope}#{window}#{unit}" if window or unit is not Unit.USD else scope


RATE = "rate:"
"""What the keys of rates begin with in the books."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a scope may be called: once in `interval_us` microseconds, after a rest `burst` at once."""

    scope: str
    interval_us: int
    burst: int

    @property
    def account(self) -> str:
        """The key in the books under which it is kept when the next call would be on time."""
        return f"{RATE}{self.scope}#{self.interval_us}#{self.burst}"


@dataclass(frozen=True, slots=True)
class Quote:
    """The worst case of one call, every budget that has to hold it and every rate it has to keep to.

    `price` names the source of the price; `tokens` are those of a model, in and out.
    """

    amount: MicroUSD
    price: str
    budgets: tuple[Budget, ...]
    tokens: int = 0
    rates: tuple[Rate, ...] = ()
    tariff: Tariff | None = None
    """What the tokens of a model cost, at the time it was asked."""
    bound: Bound | None = None
    """What it may use at most."""

    def for_nothing(self, call: str) -> "Quote":
        """That of a call which gets the answer of an earlier one: it keeps to the rates and costs nothing."""
        return Quote(MicroUSD(0), f"answer:{call}", (), rates=self.rates)

    def of(self, unit: Unit) -> int:
        """The worst case in one unit."""
        match unit:
            case Unit.USD:
                return self.amount
            case Unit.CALLS | Unit.OPEN:
                return 1
            case Unit.TOKENS:
                return self.tokens


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call really cost. `estimated`: the answer was lost, so the held amount is kept.

    `calls` is 0 where it is known that nothing was done; `tokens` is None where those held are kept.
    """

    amount: MicroUSD
    estimated: bool = False
    calls: int = 1
    tokens: int | None = None

    def of(self, unit: Unit, held: int) -> int:
        """What is charged in one unit of what is held in it."""
        match unit:
            case Unit.USD:
                return self.amount
            case Unit.CALLS:
                return self.calls
            case Unit.TOKENS:
                return held if self.tokens is None else self.tokens
            case Unit.OPEN:
                return 0


NOTHING = Settlement(MicroUSD(0), calls=0, tokens=0)
"""Nothing was done, so nothing is owed in any unit."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A budget is running out: how many percent are used, and how long calls now wait for it."""

    scope: str
    window: str
    unit: Unit
    percent: int
    wait_ms: int


class Balance(NamedTuple):
    """One account: what is spent, what calls in flight hold. `spent + held <= cap` at every moment."""

    account: str
    spent: int
    held: int


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's other cap for one scope and window, until a time (Unix seconds), with a reason."""

    scope: str
    window: str
    """The name of the window in the rules, e.g. `day`."""
    unit: Unit
    cap: int
    until: int
    reason: str
    by: str


class LedgerReader(Protocol):
    """What reading budgets needs from a backend."""

    async def balance(self, account: str) -> Balance:
        """One balance; zero for an account never seen."""
        ...

    async def balances(self) -> list[Balance]:
        """Every account that was ever used, in order."""
        ...

    async def overrides(self) -> list[Override]:
        """Every cap that an operator has overridden and whose time is not over."""
        ...
