"""Transactions that nobody else knows of."""

from broker.flow.interface import Kept


class MemoryFlow:
    """`FlowStore` for one process that keeps nothing: what is true is in its memory."""

    async def owner(self, name: str) -> str | None:
        return None

    async def load(self, transaction: str) -> Kept:
        return Kept()

    async def unmoved(self, transaction: str, reading: str, known: int) -> bool:
        return True
