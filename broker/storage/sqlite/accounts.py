"""Where does the money stand? Balances and open calls in memory, and what the open transaction changes.

Kept like the ends of the logs: forgotten and read again whenever they might not be what the file says.

What a call holds is written once, with the call; what an account holds is the sum over the calls that are
open. So a call that begins writes to no account, and the two cannot disagree.
"""

from dataclasses import dataclass

import orjson

from broker.audit.interface import Entry
from broker.ledger.interface import RATE, Balance, Notice, Quote, Settlement, Unit
from broker.ledger.rates import after
from broker.ledger.windows import over
from broker.model import MicroUSD
from broker.storage import budgets
from broker.storage.sqlite.connection import Connection

MICRO = 1_000_000
_AT_ONCE = 2000
"""How many accounts are looked at in one transaction when those of the past are forgotten."""

_MOST_BALANCES = 100_000
"""How many balances are kept in memory. Windows come and go, so there is no end to them."""


_HELD = """select part.value ->> 0 as account, sum(part.value ->> 2) as held
    from open_call, json_each(open_call.parts) as part group by 1"""


@dataclass(frozen=True, slots=True)
class Held:
    """What an open call holds: in money, and in each account by its unit."""

    amount: MicroUSD
    parts: tuple[tuple[str, Unit, int], ...]


class Accounts:
    """Holds and charges money; `flush` writes it."""

    def __init__(self, connection: Connection, *, node: str) -> None:
        self._connection = connection
        self._node = node
        self._spent: dict[str, int] = {}
        self._open: dict[str, Held] | None = None
        self._held: dict[str, int] = {}
        self._changed: set[str] = set()
        self._opened: dict[str, tuple[Entry, Held]] = {}
        self._closed: list[tuple[str]] = []
        self._levels: dict[str, int] = {}

    def forget(self) -> None:
        """Believe the file again."""
        self._spent.clear()
        self._open = None
        self._held.clear()
        self._changed.clear()
        self._opened.clear()
        self._closed.clear()
        self._levels.clear()

    def check(self, quote: Quote, now: int) -> None:
        """Refuse what does not fit, or comes too soon. `now` is Unix time in microseconds.

        Raises:
            RateLimited: a rate does not let it through yet.
            BudgetExceeded: some cap does not hold the quote.
        """
        budgets.check_rates(quote, self.counted, now)
        budgets.check(quote, self._balance, now)

    def held_by(self, call: str) -> Held | None:
        """What an open call holds; None if it is not open."""
        return self._all_open().get(call)

    def hold(self, call: str, quote: Quote, intent: Entry, now: int) -> None:
        """Hold a quote that was checked."""
        units = {budget.account: budget.unit for budget in quote.budgets}
        held = Held(quote.amount, tuple((a, unit, quote.of(unit)) for a, unit in units.items()))
        self._all_open()[call] = held
        self._opened[call] = intent, held
        sums = self._held  # in here nothing is looked up twice: every call waits
        for account, _, amount in held.parts:
            if amount:
                sums[account] = sums.get(account, 0) + amount
        for rate in quote.rates:
            self._set(rate.account, after(rate, self.counted(rate.account), now))

    def settle(self, call: str, settlement: Settlement) -> None:
        """Turn what an open call holds into what it cost, even if that is more."""
        held = self._all_open().pop(call)
        if self._opened.pop(call, None) is None:
            self._closed.append((call,))
        for account, unit, amount in held.parts:
            if amount:
                self._let_go(account, amount)
            if cost := settlement.of(unit, amount):
                self._set(account, self.counted(account) + cost)

    def notices(self, quote: Quote) -> tuple[tuple[Notice, ...], tuple[tuple[Notice, int], ...]]:
        """What is to be said of the budgets above a call that is held now.

        Returns:
            What the caller is told, and what is recorded: thresholds passed for the first time in their
            window, with the percentage.
        """
        told: list[Notice] = []
        passed: list[tuple[Notice, int]] = []
        for budget in quote.budgets:
            if budget.cap is None or not (budget.warn or budget.slow_from):
                continue
            used = budgets.used(budget, self._balance)
            notice = budgets.notice(budget, used)
            if notice is None:
                continue
            told.append(notice)
            level = budgets.level(budget, used)
            if level > max(self._level(account) for account in budget.accounts):
                self._levels[budget.account] = level
                self._changed.add(budget.account)
                passed.append((notice, level))
        return tuple(told), tuple(passed)

    def counted(self, account: str) -> int:
        """What an account has come to: spent, or counted where it is not about money."""
        known = self._spent.get(account)
        if known is None:
            known = self._spent[account] = _read_spent(self._connection, account)
        return known

    def count(self, account: str) -> None:
        """Count one more in an account that is not about money."""
        self._set(account, self.counted(account) + 1)

    def forget_past(self, after: str, now: int) -> str | None:
        """See `JournalStore.forget_windows`; `now` is Unix time in microseconds."""
        rows = self._connection.execute(
            "select account, spent from budget where account > ? order by account limit ?", (after, _AT_ONCE)
        ).fetchall()
        self._all_open()
        gone = [a for a, spent in rows if a not in self._changed and self._is_past(a, spent, now)]
        self._connection.executemany("delete from budget where account = ?", [(one,) for one in gone])
        for account in gone:
            self._spent.pop(account, None)
            self._levels.pop(account, None)
        return rows[-1][0] if len(rows) == _AT_ONCE else None

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
                        orjson.dumps(held.parts).decode(),
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
                "insert into budget values (?, ?, ?) on conflict (account) do update set"
                " spent = excluded.spent, level = excluded.level",
                [(a, self.counted(a), self._level(a)) for a in self._changed],
            )
            self._changed.clear()
            if len(self._spent) > _MOST_BALANCES:
                self._spent.clear()
                self._levels.clear()

    def _set(self, account: str, value: int) -> None:
        self._spent[account] = value
        self._changed.add(account)

    def _let_go(self, account: str, amount: int) -> None:
        left = self._held[account] - amount
        if left:
            self._held[account] = left
        else:
            del self._held[account]

    def _balance(self, account: str) -> Balance:
        self._all_open()
        return Balance(account, self.counted(account), self._held.get(account, 0))

    def _level(self, account: str) -> int:
        known = self._levels.get(account)
        if known is None:
            row = self._connection.execute(
                "select level from budget where account = ?", (account,)
            ).fetchone()
            known = self._levels[account] = row[0] if row else 0
        return known

    def _all_open(self) -> dict[str, Held]:
        if self._open is None:
            rows = self._connection.execute("select call, held, parts from open_call")
            self._open = {
                call: Held(held, tuple((a, Unit(unit), amount) for a, unit, amount in orjson.loads(parts)))
                for call, held, parts in rows
            }
            self._held = {row[0]: row[1] for row in self._connection.execute(_HELD)}
        return self._open

    def _is_past(self, account: str, spent: int, now: int) -> bool:
        """Whether an account is as good as one that was never used."""
        if account.startswith(RATE):
            return spent <= now
        _, *window_and_unit = account.rsplit("#", 2)
        return (
            account not in self._held and len(window_and_unit) == 2 and over(window_and_unit[0], now / MICRO)
        )


def read_balance(connection: Connection, account: str) -> Balance:
    """One balance as the file has it; zero for an account never seen."""
    query = f"select coalesce((select held from ({_HELD}) where account = ?1), 0)"  # noqa: S608
    held = connection.execute(query, (account,)).get
    return Balance(account, _read_spent(connection, account), held)


def read_balances(connection: Connection) -> list[Balance]:
    """Every balance as the file has it, by account, in one moment."""
    query = f"""with open_parts as ({_HELD})
        select account, coalesce(spent, 0), coalesce(held, 0)
        from budget full join open_parts using (account) order by account"""  # noqa: S608
    return [Balance(*row) for row in connection.execute(query)]


def _read_spent(connection: Connection, account: str) -> int:
    row = connection.execute("select spent from budget where account = ?", (account,)).fetchone()
    return row[0] if row else 0
