"""Grants, kept in dictionaries."""

from collections.abc import Sequence
from dataclasses import replace

from broker.audit.interface import Entry
from broker.model import CallId, Grant, GrantId


class MemoryGrants:
    def __init__(self) -> None:
        self.records: dict[GrantId, Grant] = {}
        self.open_calls: set[CallId] = set()
        self.changes = 1

    def add(self, *grants: Grant) -> None:
        for grant in grants:
            self.records[grant.id] = grant

    def revoke(self, grant_id: GrantId, now: int = 1) -> None:
        """As a store would, with all below."""
        self.changes += 1
        self.records[grant_id] = replace(self.records[grant_id], revoked_at=now)
        for child in [one for one in self.records.values() if one.parent == grant_id]:
            self.revoke(child.id, now)

    async def delegate(self, grant: Grant, entry: Entry) -> None:
        self.add(grant)

    async def grant(self, grant_id: GrantId) -> Grant | None:
        return self.records.get(grant_id)

    async def chain(self, grant_id: GrantId) -> Sequence[Grant]:
        chain = []
        here = self.records.get(grant_id)
        while here is not None:
            chain.append(here)
            here = self.records.get(here.parent) if here.parent else None
        return tuple(chain)

    async def children(self, grant_id: GrantId) -> Sequence[Grant]:
        return [one for one in self.records.values() if one.parent == grant_id]

    async def roots(self, transaction: str) -> Sequence[Grant]:
        return [g for g in self.records.values() if g.parent is None and g.transaction == transaction]

    async def is_open(self, call: CallId) -> bool:
        return call in self.open_calls

    async def version(self) -> int:
        return self.changes
