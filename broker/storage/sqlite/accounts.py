"""Where does the money stand? Balances and open calls in memory, and what the open transaction changes.

Kept like the ends of the logs: forgotten and read again whenever they might not be what the file says.
"""

from dataclasses import dataclass

import orjson

from broker.audit.interface import Entry
from broker.ledger.interface import Balance, Quote
from broker.model import MicroUSD
from broker.storage.budgets import check
from broker.storage.sqlite.connection import Connection


@dataclass(frozen=True, slots=True)
class Held:
    """What an open call holds, and in which budgets."""

    amount: MicroUSD
    scopes: tuple[str, ...]


class Accounts:
    """Holds and charges money; `flush` writes it."""

    def __init__(self, connection: Connection, *, node: str) -> None:
        self._connection = connection
        self._node = node
        self._balances: dict[str, Balance] = {}
        self._open: dict[str, Held] | None = None
        self._changed: set[str] = set()
        self._opened: dict[str, tuple[Entry, Held]] = {}
        self._closed: list[tuple[str]] = []

    def forget(self) -> None:
        """Believe the file again."""
        self._balances.clear()
        self._open = None
        self._changed.clear()
        self._opened.clear()
        self._closed.clear()

    def check(self, quote: Quote) -> None:
        """Refuse what does not fit.

        Raises:
            BudgetExceeded: some cap does not hold the quote.
        """
        check(quote, self._balance)

    def held_by(self, call: str) -> Held | None:
        """What an open call holds; None if it is not open."""
        return self._all_open().get(call)

    def hold(self, call: str, quote: Quote, intent: Entry) -> None:
        """Hold a quote that was checked."""
        held = Held(quote.amount, tuple(dict.fromkeys(b.scope for b in quote.budgets)))
        self._all_open()[call] = held
        self._opened[call] = intent, held
        self._add(held, spent=0, held_more=held.amount)

    def settle(self, call: str, amount: MicroUSD) -> None:
        """Turn what an open call holds into what it cost, even if that is more."""
        held = self._all_open().pop(call)
        if self._opened.pop(call, None) is None:
            self._closed.append((call,))
        self._add(held, spent=amount, held_more=-held.amount)

    def counted(self, scope: str) -> int:
        """How often a scope was counted."""
        return self._balance(scope).spent

    def count(self, scope: str) -> None:
        """Count one more in a scope that is not about money."""
        self._balances[scope] = Balance(scope, MicroUSD(self.counted(scope) + 1), MicroUSD(0))
        self._changed.add(scope)

    def flush(self) -> None:
        """Write what has changed."""
        if self._opened:
            self._connection.executemany(
                "insert into open_call values (?, ?, ?, ?, ?, ?)",
                [
                    (
                        call,
                        entry.log,
                        entry.agent,
                        self._node,
                        held.amount,
                        orjson.dumps(held.scopes).decode(),
                    )
                    for call, (entry, held) in self._opened.items()
                ],
            )
            self._opened.clear()
        if self._closed:
            self._connection.executemany("delete from open_call where call = ?", self._closed)
            self._closed.clear()
        if self._changed:
            self._connection.executemany(
                "insert into budget values (?, ?, ?) on conflict (scope) do update set"
                " spent = excluded.spent, held = excluded.held",
                [(b.scope, b.spent, b.held) for b in map(self._balance, self._changed)],
            )
            self._changed.clear()

    def _add(self, held: Held, *, spent: int, held_more: int) -> None:
        if not spent and not held_more:
            return
        for scope in held.scopes:
            was = self._balance(scope)
            now = Balance(scope, MicroUSD(was.spent + spent), MicroUSD(was.held + held_more))
            self._balances[scope] = now
            self._changed.add(scope)

    def _balance(self, scope: str) -> Balance:
        known = self._balances.get(scope)
        if known is None:
            known = self._balances[scope] = read_balance(self._connection, scope)
        return known

    def _all_open(self) -> dict[str, Held]:
        if self._open is None:
            rows = self._connection.execute("select call, held, scopes from open_call")
            self._open = {call: Held(held, tuple(orjson.loads(scopes))) for call, held, scopes in rows}
        return self._open


def read_balance(connection: Connection, scope: str) -> Balance:
    """The balance of one scope as the file has it; zero for one never seen."""
    row = connection.execute("select spent, held from budget where scope = ?", (scope,)).fetchone()
    spent, held = row or (0, 0)
    return Balance(scope, MicroUSD(spent), MicroUSD(held))
