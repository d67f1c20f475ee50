"""What may one call cost, and which budgets have to hold it? Pure: the books are the store's."""

from broker.ledger.interface import Budget, Quote
from broker.model import Principal, Target


class Prices:
    """Prices of tools: a fixed amount per call, from the catalogue."""

    def quote(self, principal: Principal, target: Target) -> Quote:
        """The worst case of a call and every budget above it: each actor's, and each slice handed on."""
        budgets = [Budget(f"agent:{actor.id}", actor.cap_micro_usd) for actor in principal.actors]
        budgets += [
            Budget(f"grant:{grant.id}", grant.cap_micro_usd)
            for grant in principal.grants
            if grant.cap_micro_usd is not None
        ]
        return Quote(target.price, target.price_source, tuple(budgets))
