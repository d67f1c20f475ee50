"""Who runs the broker? Operators can see each other; only the machine's own command line makes them."""

from collections.abc import Sequence

from pydantic import Field

from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import NoQuery, Nothing, Shape, Time, time_of, time_or_none
from broker.identity.operators import Operator, OperatorStore, Right


class OperatorFacts(Shape):
    """An operator."""

    id: str
    rights: list[Right]
    created_at: Time
    expires_at: Time = Field(description="when their token ends")
    revoked_at: Time | None


class AllOperators(Shape):
    """All operators, by id."""

    items: list[OperatorFacts]


class Staff:
    """The operators, to operators."""

    def __init__(self, store: OperatorStore) -> None:
        self._store = store

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        return [
            Operation("GET", "/me", None, self.me, OperatorFacts),
            Operation("GET", "/operators", Right.READ, self.list, AllOperators),
        ]

    async def me(self, asked: Asked[NoQuery, Nothing]) -> OperatorFacts:
        """Who asks, with which rights, and until when."""
        return _facts(asked.operator)

    async def list(self, asked: Asked[NoQuery, Nothing]) -> AllOperators:  # noqa: ARG002 - the shape of all
        """All operators, by id."""
        return AllOperators(items=[_facts(operator) for operator in await self._store.operators()])


def _facts(operator: Operator) -> OperatorFacts:
    return OperatorFacts(
        id=operator.id,
        rights=sorted(operator.rights),
        created_at=time_of(operator.created_at),
        expires_at=time_of(operator.expires_at),
        revoked_at=time_or_none(operator.revoked_at),
    )
