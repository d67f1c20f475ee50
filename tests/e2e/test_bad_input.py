"""What does a running broker say to bad requests and bad tokens? Something clear, and then it goes on working."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import orjson
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from broker.identity.keys import Keys, load_keys
from broker.storage.sqlite import open_store
from tests.e2e.counting import Counter
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import REVISION, Reply, call_tool, headers, message, post, request

pytestmark = pytest.mark.timeout(60)
REQUEST_BYTES = 64 << 10
NARROW = """\
role: narrow
allow:
  - tools: ["echo__*"]
"""


@dataclass(frozen=True)
class World:
    """One broker with an upstream that counts, an agent that may use everything and one that may not."""

    broker: Restartable
    counter: Counter
    token: str
    narrow_token: str
    keys: Keys

    @property
    def url(self) -> str:
        return self.broker.deployment.mcp_url


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bad-input")
    with Counter(folder) as counter:
        connectors = {"echo": {"use": "echo"}, "counter": counter.connector}
        settings = {"limits": {"request_bytes": REQUEST_BYTES}}
        broker = Restartable(folder / "broker", connectors, settings=settings)
        (broker.policies / "roles" / "narrow.yaml").write_text(NARROW)
        with broker:
            deployment = broker.deployment
            token = deployment.token(deployment.add_agent("wide", "everything"))
            narrow_token = deployment.token(deployment.add_agent("narrow", "narrow"))
            yield World(broker, counter, token, narrow_token, anyio.run(_keys, broker))


async def _keys(broker: Restartable) -> Keys:
    async with open_store(broker.database, deployment="broker.local", serve=False) as store:
        return await load_keys(store.keys, time.time)


async def still_works(world: World) -> None:
    reply = await call_tool(world.url, world.token, "echo__say", text="still here")
    assert reply.status == 200
    assert "still here" in reply.text


def encoded(**changes: Any) -> bytes:
    """A call of a harmless tool, with members replaced or, where None, left out."""
    whole = message("tools/call", {"name": "echo__say", "arguments": {"text": "hi"}}) | changes
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call\xff"}', -32700),
        (b'"tools/call"', -32600),
        (b"[" + encoded() + b"]", -32602),
        (encoded(jsonrpc="1.0"), -32600),
        (encoded(jsonrpc=None), -32600),
        (encoded(id={"a": 1}), -32600),
        (encoded(method=None), -32600),
        (encoded(method=7), -32600),
        (encoded(params=["echo__say"]), -32600),
        (encoded(params={"name": "echo__say", "arguments": {}}), -32602),
    ],
    ids=[
        "empty", "truncated", "not-a-number", "not-utf8", "a-string", "a-batch", "json-rpc-1", "no-version",
        "id-an-object", "no-method", "method-a-number", "params-a-list", "no-envelope",
    ],
)  # fmt: skip
async def test_a_malformed_message_is_refused_with_the_code_of_json_rpc(
    world: World, body: bytes, code: int
) -> None:
    reply = await post(world.url, body, headers("tools/call", world.token, name="echo__say"))
    assert (reply.status, reply.error["code"]) == (400, code)
    assert reply.error["message"]
    await still_works(world)


@pytest.mark.parametrize(
    "arguments", ["text", ["text"], 7, None], ids=["a-string", "a-list", "a-number", "null"]
)
async def test_arguments_that_are_no_object_are_refused_before_anything_is_called(
    world: World, arguments: Any
) -> None:
    before = world.counter.happened
    reply = await request(
        world.url, world.token, "tools/call", {"name": "counter__count", "arguments": arguments}
    )
    assert "error" in reply.body or reply.result["isError"]
    assert world.counter.happened == before
    await still_works(world)


async def test_a_body_over_the_limit_is_refused_with_413_and_the_limit(world: World) -> None:
    body = encoded(params={"name": "echo__say", "arguments": {"text": "x" * REQUEST_BYTES}})
    reply = await post(world.url, body, headers("tools/call", world.token, name="echo__say"))
    assert reply.status == 413
    assert str(REQUEST_BYTES) in json.dumps(reply.body)
    await still_works(world)


async def test_an_unknown_method_is_not_found(world: World) -> None:
    reply = await request(world.url, world.token, "tools/destroy")
    assert (reply.status, reply.error["code"]) == (404, -32601)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"Mcp-Method": "tools/list"}, 400, -32020),
        ({"Mcp-Name": "counter__count"}, 400, -32020),
        ({"Mcp-Name": None}, 400, -32020),
        ({"MCP-Protocol-Version": "2025-11-25"}, 400, None),
        ({"MCP-Protocol-Version": "2031-01-01"}, 400, None),
        ({"Content-Type": "text/plain"}, 415, None),
        ({"Accept": "text/html"}, 406, None),
    ],
    ids=["method", "name", "no-name", "other-version", "unknown-version", "content-type", "accept"],
)
async def test_headers_that_contradict_the_body_are_refused(
    world: World, change: dict[str, str | None], status: int, code: int | None
) -> None:
    given = headers("tools/call", world.token, name="echo__say") | change
    reply = await post(world.url, encoded(), {k: v for k, v in given.items() if v is not None})
    assert reply.status == status, reply.body
    assert code is None or reply.error["code"] == code
    await still_works(world)


async def test_a_revision_that_is_not_spoken_is_answered_with_those_that_are(world: World) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}
    body = json.dumps(message("tools/list", {}, meta=meta)).encode()
    given = headers("tools/list", world.token) | {"MCP-Protocol-Version": "2031-01-01"}
    reply = await post(world.url, body, given)
    assert (reply.status, reply.error["code"]) == (400, -32022)
    assert REVISION in reply.error["data"]["supported"]


def minted(
    world: World, *, key: ECKey | None = None, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A token like those of the broker, signed with its own key unless another is given."""
    own, now = world.keys.tokens.active, int(time.time())
    deployment = world.broker.deployment
    payload = {
        "iss": deployment.issuer,
        "aud": deployment.mcp_url,
        "sub": "wide",
        "client_id": "wide",
        "jti": "t-1",
        "iat": now,
        "exp": now + 300,
        "scope": "mcp:tools",
        "txn": "x-1",
    } | claims
    protected = {"typ": "at+jwt", "alg": "ES256", "kid": own.kid} | (header or {})
    return jws.serialize_compact(protected, orjson.dumps(payload), key or own.pair, algorithms=["ES256"])


def unsigned(world: World) -> str:
    """The claims of a genuine token under `alg: none` (RFC 7519 §6.1)."""
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    return f"{header}.{minted(world).split('.')[1]}."


def signed_with_the_public_key(world: World) -> str:
    """HS256 keyed with what everybody can read, for verifiers that let the token choose the algorithm."""
    own = world.keys.tokens.active
    header = json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": own.kid}).encode()
    signed = f"{base64.urlsafe_b64encode(header).rstrip(b'=').decode()}.{minted(world).split('.')[1]}"
    mac = hmac.digest(own.pair.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


FORGERIES: dict[str, Callable[[World], str]] = {
    "another issuer": lambda world: minted(world, iss="https://elsewhere.example/oauth"),
    "another audience": lambda world: minted(world, aud="https://elsewhere.example/mcp"),
    "several audiences": lambda world: minted(world, aud=[world.url, "https://elsewhere.example/mcp"]),
    "a key of somebody else": lambda world: minted(world, key=ECKey.generate_key("P-256")),
    "an unknown key id": lambda world: minted(world, header={"kid": "made-up"}),
    "another type": lambda world: minted(world, header={"typ": "JWT"}),
    "no signature": unsigned,
    "a public key as secret": signed_with_the_public_key,
    "a year of lifetime": lambda world: minted(world, exp=int(time.time()) + 31_536_000),
    "issued in the future": lambda world: minted(
        world, iat=int(time.time()) + 600, exp=int(time.time()) + 900
    ),
    "expiry as text": lambda world: minted(world, exp="tomorrow"),
    "a bit changed": lambda world: minted(world)[:-8] + "AAAAAAAA",
    "no token at all": lambda _: "hello",
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda name: name.replace(" ", "-"))
async def test_a_token_that_is_not_ours_is_refused_without_saying_which_check_failed(
    world: World, forgery: str
) -> None:
    reply = await call_tool(world.url, FORGERIES[forgery](world), "echo__say", text="hi")
    assert reply.status == 401
    challenge = reply.headers["WWW-Authenticate"]
    assert 'error="invalid_token"' in challenge
    assert "not a token of this broker" in challenge


async def test_a_genuine_token_minted_by_the_test_is_accepted(world: World) -> None:
    reply = await call_tool(world.url, minted(world), "echo__say", text="genuine")
    assert "genuine" in reply.text, "the forgeries above prove nothing otherwise"


async def test_a_token_of_an_agent_that_is_gone_is_refused(world: World) -> None:
    reply = await call_tool(
        world.url, minted(world, sub="nobody", client_id="nobody"), "echo__say", text="hi"
    )
    assert reply.status == 401
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]


async def test_an_expired_token_is_told_that_it_expired(world: World) -> None:
    now = int(time.time())
    reply = await call_tool(world.url, minted(world, iat=now - 400, exp=now - 40), "echo__say", text="hi")
    assert reply.status == 401
    assert "expired 4" in reply.headers["WWW-Authenticate"]


async def test_a_request_without_a_token_is_told_where_to_get_one(world: World) -> None:
    reply = await call_tool(world.url, None, "echo__say", text="hi")
    assert reply.status == 401
    challenge = reply.headers["WWW-Authenticate"]
    assert "resource_metadata=" in challenge
    assert "error=" not in challenge


def without_call_id(reply: Reply) -> str:
    data = dict(reply.body["error"].get("data", {}).get("error", {}))
    return json.dumps(reply.body).replace(str(data.get("call")), "CALL")


async def test_a_hidden_tool_answers_exactly_like_one_that_does_not_exist(world: World) -> None:
    before = world.counter.happened
    hidden = await call_tool(world.url, world.narrow_token, "counter__count", id="hidden")
    missing = await call_tool(world.url, world.narrow_token, "counter__mount", id="hidden")
    assert (hidden.status, sorted(hidden.headers)) == (missing.status, sorted(missing.headers))
    assert without_call_id(hidden).replace("counter__count", "counter__mount") == without_call_id(missing)
    assert world.counter.happened == before


async def test_a_suspended_agent_is_refused_at_its_next_call_and_let_in_again_when_resumed(
    world: World,
) -> None:
    deployment = world.broker.deployment
    token = deployment.token(deployment.add_agent("stopped", "everything"))
    assert (await call_tool(world.url, token, "echo__say", text="hi")).status == 200
    deployment.command("agent", "suspend", "stopped")
    assert (await call_tool(world.url, token, "echo__say", text="hi")).status == 401
    deployment.command("agent", "resume", "stopped")
    assert (await call_tool(world.url, token, "echo__say", text="hi")).status == 200


async def test_nothing_of_all_this_was_an_accident_in_the_server(world: World) -> None:
    await still_works(world)
    said = world.broker.said()
    assert "Traceback" not in said
    assert world.token not in said
