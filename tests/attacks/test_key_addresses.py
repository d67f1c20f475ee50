"""Somebody who chooses an address that keys are fetched from, or stands behind one: `jwks_uri`."""

import json
import socket
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import httpx2
import pytest
from joserfc.jwk import ECKey
from pydantic import ValidationError

from broker import fetching
from broker.errors import InvalidRequest, UpstreamError, UpstreamRefused, UpstreamUnreachable
from broker.fetching import Fetcher
from broker.identity.assertions import ASSERTION_TYPE
from broker.identity.key_addresses import key_address
from broker.identity.published_keys import FRESH_S
from broker.settings import FederationSettings, Settings, TokenSettings
from tests.unit.edges.serving import Broker, broker_for
from tests.unit.identity.signing import EC, ED, Signer, public

GRANT = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
KEYS = json.dumps({"keys": [public(EC) | {"kid": "k"}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"

Act = Callable[[anyio.abc.SocketStream], Awaitable[None]]


class Publisher:
    """A raw server on loopback that does to whoever asks what a test says; `asked` holds the requests."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.content = KEYS
        self.act: Act = self.publish
        self.url = ""

    async def publish(self, peer: anyio.abc.SocketStream) -> None:
        await peer.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(self.content) + self.content)

    async def serve(self, peer: anyio.abc.SocketStream) -> None:
        async with peer:
            self.asked.append(await peer.receive())
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # they have had enough
                await self.act(peer)


@asynccontextmanager
async def publisher() -> AsyncGenerator[Publisher]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Publisher()
    server.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/jwks"  # noqa: S610 - no query
    with anyio.fail_after(60):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.serve)
            yield server
            tasks.cancel_scope.cancel()


async def fetch(url: str, *, allow_private: bool = True) -> bytes:
    return await Fetcher().fetch(url, largest=1 << 16, allow_private=allow_private)


async def test_without_an_attack_a_document_is_fetched_with_nothing_but_a_plain_get():
    async with publisher() as server:
        assert await fetch(server.url) == KEYS
        (request,) = server.asked
        assert request.startswith(b"GET /jwks HTTP/1.1\r\n")
        assert b"authorization" not in request.lower()
        assert b"cookie" not in request.lower()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0",
        "0x7f.1",
        "0177.0.0.1",
    ],
)
async def test_this_machine_is_not_reached_under_any_of_its_names(host):
    async with publisher() as server:
        port = server.url.rpartition(":")[2]
        for scheme in ("http", "https"):
            with pytest.raises(UpstreamError):
                await fetch(f"{scheme}://{host}:{port}", allow_private=False)
        assert server.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "168.63.129.16",
        "[fe80::1]",
        "[64:ff9b::a9fe:a9fe]",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "2852039166",
    ],
)
@pytest.mark.parametrize("allow_private", [True, False])
async def test_metadata_services_and_what_leads_there_are_never_asked(address, allow_private):
    with pytest.raises(UpstreamError):
        await fetch(f"https://{address}/jwks", allow_private=allow_private)


async def test_a_name_that_changes_its_mind_is_judged_by_the_address_that_is_connected_to(monkeypatch):
    """DNS rebinding: at first public, then this machine."""
    answers = ["93.184.216.34", "127.0.0.1"]

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": answers.pop(0), "port": port, "family": socket.AF_INET}
            | {"proto": 0, "flags": socket.AI_NUMERICHOST}
        ]

    async with publisher() as server:
        monkeypatch.setattr(fetching.ThreadedResolver, "resolve", resolve)
        answers.pop(0)
        port = server.url.rpartition(":")[2]
        with pytest.raises(UpstreamUnreachable, match=r"127\.0\.0\.1"):
            await fetch(f"https://rebind.example:{port}", allow_private=False)
        assert server.asked == []


async def test_plain_http_does_not_leave_this_machine_even_where_private_networks_are_meant(monkeypatch):
    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": "10.0.0.7", "port": port, "family": socket.AF_INET}
            | {"proto": 0, "flags": socket.AI_NUMERICHOST}
        ]

    monkeypatch.setattr(fetching.ThreadedResolver, "resolve", resolve)
    with pytest.raises(UpstreamUnreachable, match="plain http"):
        await fetch("http://keys.internal/jwks")


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"308 Permanent"])
async def test_a_redirect_is_not_followed(status):
    async with publisher() as server:

        async def redirect(peer):
            where = server.url.encode() + b"/elsewhere"
            await peer.send(b"HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, where))

        server.act = redirect
        with pytest.raises(UpstreamRefused, match="answered HTTP 30"):
            await fetch(server.url)
        assert len(server.asked) == 1


async def test_a_document_without_an_end_is_read_only_up_to_its_limit():
    sent = 0
    async with publisher() as server:

        async def endless(peer):
            nonlocal sent
            await peer.send(HEAD + b"\r\n")
            while True:
                await peer.send(b" " * 4096)
                sent += 4096

        server.act = endless
        with pytest.raises(UpstreamRefused, match="larger than"):
            await fetch(server.url)
        assert sent < 64 << 20


async def test_what_is_packed_small_is_not_unpacked():
    async with publisher() as server:
        bomb = zlib.compress(b" " * (8 << 20))

        async def packed(peer):
            head = HEAD + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n"
            await peer.send(head % len(bomb) + bomb)

        server.act = packed
        assert await fetch(server.url) == bomb


@pytest.mark.parametrize("begin", [b"", HEAD + b"\r\n", HEAD + b"Content-Length: 9\r\n\r\n{"])
async def test_a_server_that_takes_its_time_is_given_up(begin, monkeypatch):
    monkeypatch.setattr(fetching, "WITHIN_S", 0.3)
    async with publisher() as server:

        async def trickle(peer):
            await peer.send(begin or b"H")
            while True:
                await peer.send(b"\n" if begin else b"T")
                await anyio.sleep(0.05)

        server.act = trickle
        with pytest.raises(UpstreamRefused, match="did not answer"):
            await fetch(server.url)


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"HTTP/1.1 200 OK\r\nA" * 9, b"HTTP/9.9 x\r\n\r\n", b""])
async def test_what_is_no_http_is_a_failure(garbage):
    async with publisher() as server:

        async def talk(peer):
            await peer.send(garbage)

        server.act = talk
        with pytest.raises(UpstreamError):
            await fetch(server.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://agent.example/jwks",
        "https://127.0.0.1/jwks",
        "https://[::1]/jwks",
        "https://10.0.0.1/jwks",
        "https://user:secret@agent.example/jwks",
        "https://agent.example/jwks#part",
        "file:///etc/passwd",
        "ftp://agent.example/jwks",
        "https:///jwks",
        "https://agent.example:port/jwks",
        "https://[agent]/jwks",
        "https://agent.example/j wks",
        "https://agent.example/\r\nHost: x",
        "https://ägent.example/jwks",
        f"https://agent.example/{'a' * 2048}",
        "",
    ],
)
def test_an_address_that_keys_must_not_come_from_is_not_taken_down(url):
    with pytest.raises(InvalidRequest):
        key_address(url, allow_private=False)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/jwks", "https://169.254.169.254/jwks", "https://[fe80::1]/"]
)
def test_not_everything_is_meant_where_private_networks_are(url):
    with pytest.raises(InvalidRequest):
        key_address(url, allow_private=True)
    assert key_address("http://127.0.0.1:8080/jwks", allow_private=True)
    assert key_address("https://10.0.0.1/jwks", allow_private=True)


class Office:
    def __init__(self, broker: Broker, server: Publisher) -> None:
        self.broker = broker
        self.server = server
        self.signer = Signer("researcher", broker.settings.issuer)
        self.asked = 0

    async def ask(self, assertion: str) -> httpx2.Response:
        self.asked += 1
        transport = httpx2.ASGITransport(self.broker.app, client=(f"192.0.2.{self.asked}", 1))
        async with httpx2.AsyncClient(transport=transport, base_url=self.broker.url) as client:
            return await client.post("/oauth/token", data=GRANT | {"client_assertion": assertion})

    async def status(self, header: dict[str, str] | None = None, key: object = EC, **claims: object) -> int:
        return (
            await self.ask(
                Signer("researcher", self.signer.audience, key, now=int(self.broker.clock())).assertion(
                    header, {"jti": f"j{self.asked}"} | claims
                )
            )
        ).status_code


@asynccontextmanager
async def office() -> AsyncGenerator[Office]:
    async with publisher() as server:
        broker = await broker_for(Settings(tokens=TokenSettings(private_jwks_uris=True)), source=Fetcher())
        broker.agents.enrol("researcher")
        broker.agents.addresses["researcher"] = server.url
        yield Office(broker, server)


async def test_an_agent_that_publishes_its_keys_needs_none_registered():
    async with office() as o:
        assert [await o.status(), await o.status({"kid": "k"}), await o.status()] == [200] * 3
        assert len(o.server.asked) == 1


async def test_only_what_is_published_signs():
    async with office() as o:
        assert await o.status(key=ECKey.generate_key("P-256")) == 401
        assert await o.status({"kid": "k"}, key=ECKey.generate_key("P-256")) == 401
        assert await o.status() == 200


async def test_a_key_that_was_swapped_is_refused_and_the_new_one_taken():
    async with office() as o:
        assert await o.status() == 200
        other = ECKey.generate_key("P-256")
        o.server.content = json.dumps({"keys": [public(other) | {"kid": "k"}]}).encode()
        assert await o.status({"kid": "k"}) == 200, "what is known holds while it is fresh"
        o.broker.clock.now += FRESH_S
        assert await o.status({"kid": "k"}) == 401
        assert await o.status({"kid": "k"}, key=other) == 200


async def test_what_is_published_signs_for_its_own_agent_only():
    async with office() as o:
        o.broker.agents.enrol("intern")
        o.broker.agents.register("intern", public(ED))
        assert await o.status(iss="intern", sub="intern") == 401
        assert await o.status() == 200


async def test_a_stranger_who_names_keys_that_nobody_has_makes_nobody_ask_for_them_over_and_over():
    async with office() as o:
        for number in range(20):
            assert await o.status({"kid": f"nobody-{number}"}) == 401
        assert len(o.server.asked) == 1
        assert await o.status() == 200


async def test_whatever_is_wrong_with_an_address_is_one_refusal_like_that_of_a_stranger():
    async with office() as o:
        stranger = Signer("nobody", o.signer.audience).assertion()
        expected = await o.ask(stranger)

        async def not_found(peer):
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        async def hang_up(peer):
            await peer.aclose()

        for act in (not_found, hang_up):
            o.server.act = act
            o.broker.clock.now += 10_000
            signer = Signer("researcher", o.signer.audience, now=int(o.broker.clock()))
            answer = await o.ask(signer.assertion())
            assert (answer.status_code, answer.content) == (expected.status_code, expected.content)


async def test_a_slow_address_holds_up_nobody_else():
    async with office() as o:
        o.broker.agents.enrol("intern")
        o.broker.agents.register("intern", public(ED))
        arrived, go_on, slow = anyio.Event(), anyio.Event(), []

        async def stall(peer):
            arrived.set()
            await go_on.wait()
            await o.server.publish(peer)

        async def wait() -> None:
            slow.append(await o.status())

        o.server.act = stall
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await arrived.wait()
            intern = Signer("intern", o.signer.audience, ED, "Ed25519")
            assert (await o.ask(intern.assertion())).status_code == 200
            assert slow == []
            go_on.set()
        assert slow == [200]


async def test_an_issuer_may_publish_its_keys_too():
    cluster = "https://kubernetes.default.svc"
    async with publisher() as server:
        section = FederationSettings(
            issuer=cluster, jwks_uri=server.url, allow_private=True, agents={"researcher": {"sub": "w"}}
        )
        broker = await broker_for(Settings(federation={"cluster": section}), source=Fetcher())
        broker.agents.enrol("researcher")
        o = Office(broker, server)
        claims = {"iss": cluster, "sub": "w"}
        assert await o.status(**claims) == 200
        assert await o.status(key=ECKey.generate_key("P-256"), **claims) == 401
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"jwks": "file", "jwks_uri": "https://issuer.example/jwks"},
        {"jwks": "file", "allow_private": True},
    ],
)
def test_an_issuer_has_its_keys_in_one_place(keys):
    with pytest.raises(ValidationError, match="jwks"):
        FederationSettings(issuer="https://i.example", agents={"a": {"sub": "b"}}, **keys)
