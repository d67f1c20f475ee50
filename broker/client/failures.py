"""What does it mean for a call when the connection to the broker fails?"""

import httpx2

from broker.errors import BrokerError, UpstreamLost, UpstreamUnreachable

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


def broken(url: str, error: httpx2.HTTPError) -> BrokerError:
    """What a failed connection means: before the request left, nothing has happened."""
    if isinstance(error, _NOT_SENT):
        return UpstreamUnreachable(
            f"no broker at `{url}`: {error or 'it did not answer in time'}",
            hint="check the URL (BROKER_URL) and whether the broker is running",
        )
    return UpstreamLost(
        f"the connection to the broker at `{url}` broke before its answer",
        hint="the call may have had its effect: look before you repeat it",
    )
