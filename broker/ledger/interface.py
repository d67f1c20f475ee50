"""What does it cost? Prices, budgets and what the ledger needs from a backend."""

from dataclasses import dataclass
from typing import Protocol

from broker.model import MicroUSD


@dataclass(frozen=True, slots=True)
class Budget:
    """One cap above a call. `scope` is `<kind>:<id>`, e.g. `agent:researcher`; no cap: only counted."""

    scope: str
    cap: MicroUSD | None


@dataclass(frozen=True, slots=True)
class Quote:
    """The worst case of one call and every budget that has to hold it. `price` names the source."""

    amount: MicroUSD
    price: str
    budgets: tuple[Budget, ...]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call really cost. `estimated`: the answer was lost, so the held amount is kept."""

    amount: MicroUSD
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """One scope: what is spent, what calls in flight hold. `spent + held <= cap` at every moment."""

    scope: str
    spent: MicroUSD
    held: MicroUSD


class LedgerReader(Protocol):
    """What reading budgets needs from a backend."""

    async def balance(self, scope: str) -> Balance:
        """The balance of one scope; zero for one never seen."""
        ...
