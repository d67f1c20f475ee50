"""How is a document of somebody else fetched, or one posted? Guarded: others may choose the address.

Every address is checked at the moment it is connected to, so that a name cannot lead into this machine
or network (server-side request forgery), nor change its mind in between (DNS rebinding). Redirects are not
followed, nothing is unpacked, and size and time have an end.
"""

import errno
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
from aiohttp.resolver import ThreadedResolver

from broker.connector import EgressRefused, check_egress
from broker.errors import UpstreamRefused, UpstreamUnreachable

WITHIN_S = 5.0
CONNECT_WITHIN_S = 3.0
AT_ONCE = 16
"""How many documents are fetched at the same time; the others wait for their turn, within their time."""


class Fetcher:
    """Fetches documents by HTTP GET, and sends some by POST. Each has a connection of its own."""

    def __init__(self) -> None:
        self._turn = anyio.Semaphore(AT_ONCE)

    async def fetch(self, url: str, *, largest: int, allow_private: bool) -> bytes:
        """A document.

        Args:
            url: https, or http on this machine where `allow_private`.
            largest: size in bytes above which it is not read.
            allow_private: whether it may be on this machine or in a private network.

        Raises:
            UpstreamUnreachable: it cannot be connected to, or may not be.
            UpstreamRefused: the answer is not 200, too large, too slow, or breaks off.
        """
        async with (
            self._guarded(url),
            self._session(url, allow_private=allow_private) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise UpstreamRefused(f"`{url}` answered HTTP {response.status}")
            return await _body(response, url, largest)

    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str], largest: int, allow_private: bool
    ) -> tuple[int, bytes]:
        """Send a document; status and body of the answer.

        Args:
            url: https, or http on this machine where `allow_private`.
            body: what is sent.
            headers: sent with it.
            largest: size in bytes above which the answer is not read.
            allow_private: whether it may be on this machine or in a private network.

        Raises:
            UpstreamUnreachable: it cannot be connected to, or may not be.
            UpstreamRefused: the answer is too large, too slow, or breaks off.
        """
        async with (
            self._guarded(url),
            self._session(url, allow_private=allow_private) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return response.status, await _body(response, url, largest)

    @asynccontextmanager
    async def _guarded(self, url: str) -> AsyncGenerator[None]:
        """In its turn, within its time, and with the broker's own errors."""
        try:
            with anyio.fail_after(WITHIN_S):
                async with self._turn:
                    yield
        except TimeoutError:
            raise UpstreamRefused(f"`{url}` did not answer within {WITHIN_S:.0f} s") from None
        except aiohttp.ClientConnectorError as error:
            raise UpstreamUnreachable(f"`{url}` cannot be connected to: {error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamRefused(f"`{url}` did not answer as it should: {error}") from error

    @asynccontextmanager
    async def _session(self, url: str, *, allow_private: bool) -> AsyncGenerator[aiohttp.ClientSession]:
        parts = urlsplit(url)
        guard = _Guard(parts.hostname or "", allow_private, only_loopback=parts.scheme == "http")
        connector = aiohttp.TCPConnector(
            resolver=ThreadedResolver(), socket_factory=guard, ssl=self._tls, force_close=True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_WITHIN_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        ) as session:
            yield session

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made once, when it is first needed: that takes milliseconds."""
        return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class _Guard:
    """Makes the socket of a connection, if its very address may be connected to.

    Asked at the last moment, for whatever the name resolved to and for what only looks like an address.
    """

    name: str
    allow_private: bool
    only_loopback: bool

    def __call__(self, target: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (address, *_) = target
        try:
            check_egress(address, name=self.name, allow_private=self.allow_private)
        except EgressRefused as refusal:
            raise PermissionError(errno.EACCES, str(refusal)) from refusal
        if self.only_loopback and not ip_address(address).is_loopback:
            raise PermissionError(
                errno.EACCES, f"`{self.name}` is at {address}: plain http does not leave this machine"
            )
        return socket.socket(family, kind, protocol)


async def _body(response: aiohttp.ClientResponse, url: str, largest: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > largest:
            raise UpstreamRefused(f"`{url}` is larger than {largest} bytes")
    return bytes(body)
