"""Which calls are in flight, and which of them must stop? The kill switch reaches into open calls here.

A revocation is one commit, made by whichever process. From that commit on no intent is opened in its
chain (`JournalStore.open`); the calls that were open already are found and cancelled by looking,
every `LOOK_S`, at one number that grows with every such commit. A call costs two dict operations.
"""

import logging
from types import TracebackType
from typing import Self

import anyio

from broker.errors import Denied, StorageUnavailable
from broker.identity.interface import Fallen, Standing
from broker.model import CallId, Principal
from broker.record import CallRecord
from broker.signals import Signals

logger = logging.getLogger("broker.inflight")

LOOK_S = 0.02
"""How often the number is looked at, in seconds: the larger part of the 50 ms that are promised."""


STOP = "stop-call"
"""The topic on which processes tell each other that `call` is to be stopped."""


class InFlight:
    """The open calls of this process."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._open: dict[CallId, Flight] = {}

    def __len__(self) -> int:
        return len(self._open)

    def flight(self, record: CallRecord, principal: Principal) -> "Flight":
        """The context in which a call is open. It is left with `Denied` where the call had to stop."""
        return Flight(self._open, record, principal)

    async def obey(self, signals: Signals) -> None:
        """Stop the calls that operators want stopped, whichever process heard them, until cancelled."""
        async with signals.subscribe(STOP) as wanted:
            async for _, message in wanted:
                flight = self._open.get(CallId(message["call"]))
                if flight is not None:
                    flight.stop("an operator stopped the call")

    async def watch(self, signals: Signals) -> None:
        """Cancel what has to stop and tell streams to look whom they speak for, until cancelled."""
        known = await self._standing.version()
        while True:
            await anyio.sleep(LOOK_S)
            try:
                version = await self._standing.version()
                if version == known:
                    continue
                await self.stop_fallen()
            except StorageUnavailable as error:
                # Nothing new begins while the state cannot be read; what is open is judged when it can.
                logger.warning("calls in flight cannot be judged: %s", error.message)
                continue
            known = version
            await signals.publish("agents", {"version": version})

    async def stop_fallen(self) -> int:
        """Cancel every open call whose chain has fallen; returns how many."""
        if not self._open:
            return 0
        fallen = await self._standing.fallen([flight.principal for flight in self._open.values()])
        stopped = 0
        for flight in list(self._open.values()):
            if (why := _why(flight.principal, fallen)) is not None:
                flight.stop(why)
                stopped += 1
        if stopped:
            logger.warning("stopped %d calls in flight", stopped)
        return stopped


class Flight:
    """One open call. Not a task of its own: the call runs in its caller's, which is cancelled."""

    __slots__ = ("_open", "_record", "_scope", "principal")

    def __init__(self, flights: dict[CallId, "Flight"], record: CallRecord, principal: Principal) -> None:
        self._open = flights
        self._record = record
        self._scope = anyio.CancelScope()
        self.principal = principal

    def stop(self, why: str) -> None:
        """Cancel the call; the first reason stays."""
        if self._record.stopped is None:
            self._record.stopped = why
            self._scope.cancel()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self._open[self._record.call.id] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._open[self._record.call.id]
        cancelled = self._scope.__exit__(kind, error, trace)
        if cancelled:
            raise Denied(self._record.stopped or "the call was stopped", hint="ask an operator of the broker")


def _why(principal: Principal, fallen: Fallen) -> str | None:
    """Why a chain may not go on; None if it may."""
    for actor in principal.actors:
        if (status := fallen.agents.get(actor.id)) is not None:
            return f"`{actor.id}` was {status} while the call ran"
    for grant in reversed(principal.grants):  # a revoked hop takes those below it along: name the first
        if grant.id in fallen.grants:
            return f"what `{grant.by}` let `{grant.to}` do was revoked while the call ran"
    return "the token was revoked while the call ran" if principal.token_id in fallen.tokens else None
