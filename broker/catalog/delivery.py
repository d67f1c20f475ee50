"""How does one request reach its upstream? In turn, within its time, again where that is safe.

A request is made again only where it cannot have two effects: it never left, or its target only reads.
"""

import logging

import anyio
import stamina

from broker.catalog.breaker import Breaker, Resting
from broker.catalog.turns import Full, Turns
from broker.connector import Line, Request, Upstream
from broker.errors import BrokerError, UpstreamError, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from broker.model import Answer

logger = logging.getLogger("broker.catalog")

TRIES = 3
"""How often a request is made at most. The first time again at once, then after a tenth of a second."""


class Delivery:
    """The way to one upstream.

    Args:
        name: of its connector, for messages.
        upstream: answers.
        timeout_s: seconds after which a call counts as lost, its waiting included.
        most: calls at a time; None: no limit.
    """

    def __init__(self, name: str, upstream: Upstream, timeout_s: float, most: int | None) -> None:
        self._name = name
        self._upstream = upstream
        self._timeout_s = timeout_s
        self.turns = Turns(name, most)
        self.breaker = Breaker(name)

    async def deliver(self, request: Request, line: Line, *, reads: bool) -> Answer:
        """Have the upstream answer.

        Args:
            request: in the upstream's terms.
            line: the way back to the caller.
            reads: whether asking twice does no harm.

        Raises:
            UpstreamUnreachable: nothing was sent. UpstreamRefused: a protocol error was answered.
            UpstreamLost: the answer is lost. BrokerError: what a guard raised on the line.
        """
        self.breaker.admit()
        sent = False
        try:
            with anyio.fail_after(self._timeout_s):
                await self.turns.take(line.agent)
                try:
                    sent = True
                    return await self._tried(request, line, reads=reads)
                finally:
                    self.turns.give_back()
        except TimeoutError:
            raise self._timed_out(sent=sent) from None
        except BaseException:
            self.breaker.undecided()
            raise

    async def _tried(self, request: Request, line: Line, *, reads: bool) -> Answer:
        try:
            return await self._once(request, line)
        except UpstreamError as error:
            if not _again(error, reads=reads):
                raise
        async for attempt in stamina.retry_context(
            on=lambda error: _again(error, reads=reads), attempts=TRIES - 1, timeout=None, wait_max=1.0
        ):
            with attempt:
                self.breaker.admit()
                return await self._once(request, line)
        raise AssertionError("the last attempt raises what it met")  # pragma: no cover

    async def _once(self, request: Request, line: Line) -> Answer:
        try:
            answer = await self._upstream.invoke(request, line)
        except (UpstreamUnreachable, UpstreamLost):
            self.breaker.failed()
            raise
        except UpstreamRefused:
            self.breaker.succeeded()
            raise
        except (BrokerError, TimeoutError):
            raise
        except Exception as error:
            self.breaker.failed()
            logger.exception("connector %s failed", self._name)
            raise UpstreamLost(f"`{self._name}` failed while it did this") from error
        self.breaker.succeeded()
        return answer

    def _timed_out(self, *, sent: bool) -> UpstreamError:
        if not sent:
            self.breaker.undecided()
            return UpstreamUnreachable(
                f"`{self._name}` was busy with other calls for {self._timeout_s:g} s", hint="try again later"
            )
        self.breaker.failed()
        return UpstreamLost(
            f"`{self._name}` did not answer within {self._timeout_s:g} s",
            hint="the call may have had its effect: look before you repeat it",
        )


def _again(error: Exception, *, reads: bool) -> bool:
    """Whether making the request again cannot have a second effect."""
    if isinstance(error, Resting | Full):
        return False
    return isinstance(error, UpstreamUnreachable) or (reads and isinstance(error, UpstreamLost))
