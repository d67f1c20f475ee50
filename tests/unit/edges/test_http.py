import anyio
import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from broker.edges.http import (
    HostGuard,
    JsonResponse,
    TooLarge,
    bearer,
    challenge,
    insufficient_scope,
    peer_address,
    read_body,
    too_large,
)
from broker.errors import Unauthenticated
from broker.settings import ServerSettings, Settings
from tests.unit.edges.serving import loopback, served


async def ok(scope, receive, send):
    await JsonResponse({"path": scope["path"]})(scope, receive, send)


async def status_of(settings: Settings, *headers: tuple[bytes, bytes]) -> int:
    """What the guard answers to a request with exactly these headers."""
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/any", "headers": list(headers)}
    await HostGuard(ok, settings)(scope, receive, send)
    body = orjson.loads(sent[1]["body"])
    assert sent[0]["status"] == 200 or {"code", "message"} <= set(body["error"])
    return sent[0]["status"]


PUBLIC = Settings(
    server=ServerSettings(
        host="192.0.2.7",
        behind_proxy=True,
        public_url="https://Broker.example",
        allowed_hosts=("broker.internal:8321",),
        allowed_origins=("https://console.example",),
    )
)
LOCAL = Settings(server=ServerSettings(port=8321))


@pytest.mark.parametrize("host", [b"127.0.0.1:8321", b"localhost:8321", b"[::1]:8321", b"LOCALHOST:8321"])
async def test_a_broker_on_loopback_answers_to_the_names_of_loopback(host):
    assert await status_of(LOCAL, (b"host", host)) == 200
    assert await status_of(LOCAL, (b"host", host), (b"origin", b"http://" + host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:8321",
        b"localhost",
        b"localhost:9999",
        b"localhost:8321.evil.example",
        b"localhost:8321@evil.example",
        b"127.0.0.1.evil.example:8321",
        b"",
        b" localhost:8321",
        b"\xff\xfe",
    ],
)
async def test_a_request_for_another_name_is_misdirected(host):
    assert await status_of(LOCAL, (b"host", host)) == 421


async def test_a_request_with_two_hosts_or_none_is_refused():
    assert await status_of(LOCAL) == 400
    assert await status_of(LOCAL, *[(b"host", b"localhost:8321")] * 2) == 400


@pytest.mark.parametrize(
    "origin",
    [
        b"http://evil.example",
        b"null",
        b"https://localhost:8321",
        b"http://localhost:6274",
        b"http://localhost:8321/",
        b"",
        b"file://",
    ],
)
async def test_a_page_of_another_origin_may_not_use_the_broker(origin):
    assert await status_of(LOCAL, (b"host", b"localhost:8321"), (b"origin", origin)) == 403


async def test_of_two_origins_one_foreign_is_enough_to_be_refused():
    good, bad = (b"origin", b"http://localhost:8321"), (b"origin", b"http://evil.example")
    for origins in ((good, bad), (bad, good)):
        assert await status_of(LOCAL, (b"host", b"localhost:8321"), *origins) == 403


@pytest.mark.parametrize("host", [b"broker.example", b"broker.example:443", b"broker.internal:8321"])
async def test_a_broker_behind_a_proxy_answers_to_its_public_and_its_added_names(host):
    assert await status_of(PUBLIC, (b"host", host)) == 200


@pytest.mark.parametrize(
    "host", [b"broker.example:80", b"localhost:8321", b"192.0.2.7:8321", b"broker.internal"]
)
async def test_a_broker_that_is_not_on_loopback_does_not_answer_to_loopback_names(host):
    assert await status_of(PUBLIC, (b"host", host)) == 421


async def test_a_broker_behind_a_proxy_accepts_its_own_origin_and_added_ones_only():
    host = (b"host", b"broker.example")
    assert await status_of(PUBLIC, host, (b"origin", b"https://broker.example")) == 200
    assert await status_of(PUBLIC, host, (b"origin", b"https://console.example")) == 200
    assert await status_of(PUBLIC, host, (b"origin", b"http://broker.example")) == 403
    assert await status_of(PUBLIC, host, (b"origin", b"http://localhost:8321")) == 403


async def test_a_port_that_goes_without_saying_may_be_said():
    on_80 = Settings(server=ServerSettings(port=80))
    for host in (b"localhost", b"localhost:80", b"[::1]", b"[::1]:80"):
        assert await status_of(on_80, (b"host", host), (b"origin", b"http://" + host)) == 200


async def test_a_public_name_on_ipv6_needs_no_port_to_be_recognised():
    settings = Settings(server=ServerSettings(host="::", public_url="https://[2001:db8::1]"))
    assert await status_of(settings, (b"host", b"[2001:db8::1]")) == 200
    assert await status_of(settings, (b"host", b"[2001:db8::1]:443")) == 200
    assert await status_of(settings, (b"host", b"[2001:db8::2]")) == 421


async def test_lifespan_passes_the_guard():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await HostGuard(app, LOCAL)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


def scope_with(*values: bytes) -> dict:
    return {"headers": [(b"authorization", value) for value in values]}


def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme():
    for header in (b"Bearer a.b.c", b"bearer a.b.c", b"BEARER  a.b.c "):
        assert bearer(scope_with(header)) == "a.b.c"


@pytest.mark.parametrize(
    "values",
    [(), (b"Basic a",), (b"Bearer",), (b"Bearer ",), (b"",), (b"Bearer a", b"Bearer b"), (b"Bearera",)],
)
def test_no_token_or_two_are_no_token(values):
    assert bearer(scope_with(*values)) is None


@given(st.binary())
def test_any_header_can_be_read(value):
    token = bearer(scope_with(b"Bearer " + value))
    assert token is None or isinstance(token, str)


def test_the_address_of_a_peer_that_has_none_is_said_to_be_unknown():
    assert peer_address({"client": ("192.0.2.1", 5)}) == "192.0.2.1"
    assert peer_address({"client": None}) == peer_address({}) == "unknown"


WHERE = 'resource_metadata="http://127.0.0.1:8321/.well-known/oauth-protected-resource/mcp"'


def test_a_stranger_is_told_where_to_get_a_token_and_of_no_error():
    assert challenge(LOCAL, None) == f'Bearer {WHERE}, scope="mcp:tools"'


def test_a_refused_token_is_told_why():
    assert challenge(LOCAL, Unauthenticated("expired 40 s ago")) == (
        f'Bearer error="invalid_token", error_description="expired 40 s ago", {WHERE}, scope="mcp:tools"'
    )


def test_too_little_scope_names_all_that_is_needed():
    assert insufficient_scope(LOCAL, {"mcp:tools", "delegate"}) == (
        f'Bearer error="insufficient_scope", scope="delegate mcp:tools", {WHERE}'
    )


@given(st.text())
def test_no_message_can_break_out_of_the_challenge(message):
    told = challenge(LOCAL, Unauthenticated(message))
    assert told.isascii()
    assert told.isprintable()
    assert told.count('"') == 8
    assert "\\" not in told


async def body_of(*parts: bytes, limit: int, headers: tuple = (), gone: bool = False) -> bytes:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = gone
    messages.append({"type": "http.disconnect"})

    async def receive():
        return messages.pop(0)

    return await read_body({"headers": headers}, receive, limit)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=10), st.integers(0, 100))
async def test_a_body_is_read_whole_or_refused_by_its_true_size(parts, limit):
    whole = b"".join(parts)
    if len(whole) <= limit:
        assert await body_of(*parts, limit=limit) == whole
    else:
        with pytest.raises(TooLarge, match=f"larger than {limit} bytes"):
            await body_of(*parts, limit=limit)


async def test_a_declared_length_is_refused_before_anything_is_read():
    async def receive():
        raise AssertionError

    with pytest.raises(TooLarge):
        await read_body({"headers": [(b"content-length", b"11")]}, receive, 10)


@pytest.mark.parametrize("length", [b"-1", b"x", b"", b"1_000"])
async def test_a_declared_length_that_is_no_number_does_not_matter(length):
    assert await body_of(b"abc", limit=10, headers=((b"content-length", length),)) == b"abc"


async def test_a_client_that_goes_away_leaves_no_half_body():
    with pytest.raises(ClientDisconnect):
        await body_of(b"half", limit=10, gone=True)


async def reading(scope, receive, send):
    try:
        body = await read_body(scope, receive, 1000)
        response = JsonResponse({"bytes": len(body)})
    except TooLarge as error:
        response = too_large(error)
    await response(scope, receive, send)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_real_server_answers_413_to_a_body_that_is_too_large(chunked):
    async def chunks():
        for _ in range(8):
            yield b"a" * 500
            await anyio.lowlevel.checkpoint()

    async with (
        loopback() as (listener, settings),
        served(HostGuard(reading, settings), listener),
        httpx2.AsyncClient() as client,
    ):
        small = await client.post(settings.resource, content=b"a" * 1000)
        large = await client.post(settings.resource, content=chunks() if chunked else b"a" * 4000)
    assert small.json() == {"bytes": 1000}
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    assert large.json()["error"]["hint"]


async def test_a_real_server_passes_on_only_what_was_meant_for_it():
    async with loopback() as (listener, settings):
        port = settings.server.port
        async with served(HostGuard(ok, settings), listener), httpx2.AsyncClient() as client:
            answers = [
                (await client.post(f"http://127.0.0.1:{port}/mcp", headers=headers)).status_code
                for headers in (
                    {"host": f"localhost:{port}", "origin": f"http://localhost:{port}"},
                    {"host": "evil.example.com", "origin": "http://evil.example.com"},
                    {"host": f"localhost:{port}", "origin": "http://evil.example.com"},
                )
            ]
    assert answers == [200, 421, 403]
