"""How does a test wait for another process? It looks, until what it waits for is so."""

from collections.abc import Callable

import anyio


async def until(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    """Return as soon as `condition` holds.

    Raises:
        TimeoutError: it did not come to hold within that time.
    """
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - no event reaches us from another process
            await anyio.sleep(0.02)
