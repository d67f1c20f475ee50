"""What must be durable together when an operator's record changes: the change and its record."""

from collections.abc import Callable
from typing import Protocol

from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts
from broker.errors import InvalidRequest
from broker.identity.operators import Operator, OperatorId, OperatorStore, Right


class OperatorKeeper(OperatorStore, Protocol):
    """What this needs from a backend. Each method is one transaction and one promise:
    when it returns, everything in it is durable; when it raises, nothing of it happened.

    Raises (all methods):
        StorageUnavailable: nothing can be written now.
    """

    async def add(self, operator: Operator, digest: bytes, entry: Entry) -> None:
        """Add an operator with the digest of their token *and* record it.

        Raises:
            Conflict: the id is taken.
        """
        ...

    async def renew(self, operator_id: OperatorId, digest: bytes, expires_at: int, entry: Entry) -> None:
        """Replace an operator's token *and* record it; the old one is refused from now on.

        Raises:
            UnknownTarget: there is no such operator.
            Conflict: they are revoked.
        """
        ...

    async def revoke(self, operator_id: OperatorId, now: int, entry: Entry) -> bool:
        """Refuse an operator for good *and* record it; False if they were revoked already.

        Raises:
            UnknownTarget: there is no such operator.
        """
        ...

    async def note(self, entry: Entry) -> None:
        """Record what has happened to an operator."""
        ...


class Operators:
    """Adds, renews and revokes operators, and writes down that and who did it.

    Args:
        store: where they are kept.
        digest: what is recorded of an address.
    """

    def __init__(self, store: OperatorKeeper, digest: Callable[[bytes], str]) -> None:
        self._store = store
        self._digest = digest

    async def add(self, operator: Operator, token_digest: bytes, *, by: str) -> None:
        """Add an operator; `by` is who did it.

        Raises:
            InvalidRequest: they would have no right.
            Conflict: the id is taken.
        """
        if not operator.rights:
            raise InvalidRequest(
                f"`{operator.id}` would have no right", hint=f"give one of {', '.join(Right)}"
            )
        facts: Facts = {"rights": sorted(operator.rights), "expires_at": operator.expires_at, "by": by}
        await self._store.add(operator, token_digest, _entry(Event.OPERATOR_ADDED, operator.id, facts))

    async def renew(self, operator_id: OperatorId, token_digest: bytes, expires_at: int, *, by: str) -> None:
        """Give an operator a new token until `expires_at` (Unix seconds); the old one ends now.

        Raises:
            UnknownTarget: there is no such operator.
            Conflict: they are revoked.
        """
        facts: Facts = {"change": "renewed", "expires_at": expires_at, "by": by}
        entry = _entry(Event.OPERATOR_CHANGED, operator_id, facts)
        await self._store.renew(operator_id, token_digest, expires_at, entry)

    async def revoke(self, operator_id: OperatorId, *, now: int, by: str, reason: str) -> bool:
        """Refuse an operator for good; what they did stays theirs, so the id stays taken.

        Raises:
            UnknownTarget: there is no such operator.
        """
        facts: Facts = {"change": "revoked", "by": by, "reason": reason}
        entry = _entry(Event.OPERATOR_CHANGED, operator_id, facts)
        return await self._store.revoke(operator_id, now, entry)

    async def refused(self, operator_id: OperatorId, *, address: str) -> None:
        """Record that somebody presented a token in an operator's name that does not hold."""
        facts: Facts = {"address": self._digest(address.encode())}
        await self._store.note(_entry(Event.OPERATOR_REFUSED, operator_id, facts))


def _entry(event: Event, operator_id: OperatorId, facts: Facts) -> Entry:
    return Entry(SYSTEM_LOG, event, {"operator": operator_id} | facts)
