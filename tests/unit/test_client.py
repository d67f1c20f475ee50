"""What do agent authors rely on? Each test is an agent that speaks to a whole broker on loopback."""

import json
import logging
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import Field

from broker import client as public
from broker.client import (
    Blocked,
    Broker,
    BudgetExceeded,
    ConfigurationError,
    Denied,
    InvalidRequest,
    Progress,
    Refused,
    ToolFailed,
    Unauthenticated,
    UnknownTarget,
    UpstreamLost,
    UpstreamUnreachable,
    acting_on,
    following,
    meta,
    new_key,
)
from broker.client.credentials import ClientSecret, private_key
from broker.client.oauth import AuthorizationServer
from broker.client.tokens import AccessToken, Tokens
from broker.connector import Connector, Line
from broker.connector import ToolFailed as Failing
from broker.settings import FederationSettings
from tests.unit.edges.house import until
from tests.unit.identity.memory import ManualClock
from tests.unit.living import Living, living

DELEGATION, PARENT = "io.toolbroker/delegation", "io.toolbroker/parent_call"


class Kit:
    """Tools that do what a test needs."""

    def __init__(self) -> None:
        self.connector = Connector("kit")
        self.started = 0
        self.cancelled = anyio.Event()
        self.go_on = anyio.Event()
        for tool in (self.say, self.fail, self.count, self.wait, self.place):
            self.connector.tool(price="0.001", side_effect="reads")(tool)

    async def say(self, text: str) -> dict[str, str]:
        """Repeat a text."""
        return {"said": text}

    async def fail(self) -> str:
        """Fail."""
        raise Failing("the shelf is empty")

    async def count(self, to: int, line: Line) -> str:
        """Count, and tell about it."""
        for number in range(1, to + 1):
            await line.progress(number, total=to, message=f"number {number}")
        return f"counted to {to}"

    async def wait(self) -> str:
        """Wait until the test says so."""
        self.started += 1
        try:
            await self.go_on.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.set()
            raise
        return "waited"

    async def place(self, region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        """Wants an argument repeated in a header."""
        return region


@asynccontextmanager
async def agent(
    kit: Kit | None = None, *roles: str, cap: int | None = None, stream_after_s: float = 15.0
) -> AsyncGenerator[tuple[Broker, Living]]:
    """The agent `ada`, connected to a broker."""
    async with living((kit or Kit()).connector, stream_after_s=stream_after_s) as house:
        secret = await house.enrol("ada", *roles, cap=cap)
        async with Broker(house.url, client_id="ada", client_secret=secret) as broker:
            yield broker, house


class Gate(httpx2.AsyncBaseTransport):
    """Real HTTP, except that requests to one path wait at a gate."""

    def __init__(self, path: str) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self._path = path
        self.waiting = 0
        self.opened = anyio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == self._path:
            self.waiting += 1
            await self.opened.wait()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_an_agent_lists_what_it_may_use_and_calls_it():
    async with agent() as (broker, _):
        tools = {tool.name: tool for tool in await broker.tools()}
        answer = await broker.call("kit__say", {"text": "hello"})
    assert tools["kit__say"].description == "Repeat a text."
    assert tools["kit__say"].schema["required"] == ["text"]
    assert answer.data == {"said": "hello"}
    assert "hello" in answer.text


async def test_an_answer_says_what_the_call_cost_and_where_the_log_holds_it():
    async with agent() as (broker, house):
        answer = await broker.call("kit__say", {"text": "hello"})
        (outcome,) = await house.records("call.outcome")
    assert outcome["call"] == answer.call_id
    assert answer.cost_micro_usd == outcome["cost"] == 1000
    assert answer.receipt["log"] == "test"
    assert answer.receipt["index"] == outcome["seq"]


async def test_a_refusal_has_a_code_a_hint_and_the_id_of_its_record():
    async with agent(cap=1) as (broker, house):
        with pytest.raises(Refused) as caught:
            await broker.call("kit__say", {"text": "hello"})
        (denied,) = await house.records("call.denied")
    assert isinstance(caught.value, BudgetExceeded)
    assert caught.value.code == "over_budget"
    assert caught.value.call_id == denied["call"]
    assert "ada" in caught.value.message


async def test_a_tool_that_is_not_there_is_told_from_one_that_is_refused():
    async with agent() as (broker, _):
        with pytest.raises(UnknownTarget) as caught:
            await broker.call("kit__sya")
    assert "list what is offered" in caught.value.hint


async def test_a_blocked_argument_never_reaches_the_tool():
    async with agent() as (broker, _):
        key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 30
        with pytest.raises(Blocked):
            await broker.call("kit__say", {"text": f"{key}\n-----END PRIVATE KEY-----"})


async def test_a_tool_that_fails_is_an_exception_with_what_it_says_and_what_it_cost():
    async with agent() as (broker, _):
        with pytest.raises(ToolFailed) as caught:
            await broker.call("kit__fail")
    assert "the shelf is empty" in caught.value.message
    assert caught.value.cost_micro_usd == 1000
    assert caught.value.call_id
    assert not isinstance(caught.value, Refused)


async def test_progress_is_told_while_the_call_is_open():
    told: list[Progress] = []
    async with agent() as (broker, _):
        answer = await broker.call("kit__count", {"to": 3}, on_progress=told.append)
    assert told == [Progress(n, 3, f"number {n}") for n in (1, 2, 3)]
    assert answer.text == "counted to 3"


async def test_a_call_that_takes_long_is_answered_on_a_stream():
    kit, begun = Kit(), anyio.Event()

    async def note(response: httpx2.Response) -> None:
        if response.headers["content-type"].startswith("text/event-stream"):
            begun.set()

    async def finish() -> None:
        await begun.wait()
        kit.go_on.set()

    async with agent(kit, stream_after_s=0.01) as (broker, _), anyio.create_task_group() as tasks:
        broker._http.event_hooks = {"response": [note]}
        tasks.start_soon(finish)
        assert (await broker.call("kit__wait")).text == "waited"


async def test_leaving_a_call_cancels_it_at_the_tool():
    kit = Kit()
    async with agent(kit) as (broker, _), anyio.create_task_group() as tasks:
        tasks.start_soon(broker.call, "kit__wait")
        await until(lambda: kit.started)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await kit.cancelled.wait()


async def test_arguments_that_a_tool_wants_in_headers_are_put_there_without_being_asked():
    async with agent() as (broker, house):
        answer = await broker.call("kit__place", {"region": "Zürich"})
        assert answer.text == "Zürich"
        asked = house.requests.count("/mcp")
        await broker.call("kit__place", {"region": "here"})
        assert house.requests.count("/mcp") == asked + 1, "what was learnt is not asked again"


async def test_parallel_calls_share_one_token():
    async with agent() as (broker, house), anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(broker.call, "kit__say", {"text": str(number)})
    assert house.requests.count("/oauth/token") == 1


async def test_a_token_is_renewed_before_it_expires_and_calls_go_on_with_the_old_one_meanwhile():
    async with living(Kit().connector) as house:
        credential = ClientSecret("ada", await house.enrol("ada"))
        clock, gate = ManualClock(), Gate("/oauth/token")
        gate.opened.set()
        async with httpx2.AsyncClient(transport=gate) as http, anyio.create_task_group() as tasks:
            tokens = Tokens(AuthorizationServer(http, house.url, credential), clock)
            old = await tokens.token()
            clock.now += 500
            gate.opened, gate.waiting = anyio.Event(), 0
            tasks.start_soon(tokens.token)
            await until(lambda: gate.waiting)
            assert [await tokens.token() for _ in range(3)] == [old] * 3
            assert gate.waiting == 1
            gate.opened.set()
            await until(lambda: house.requests.count("/oauth/token") == 2)
        assert await tokens.token() != old


async def test_the_old_token_serves_to_its_end_while_the_broker_gives_no_new_one():
    async with living(Kit().connector) as house:
        credential, clock = ClientSecret("ada", await house.enrol("ada")), ManualClock()
        async with httpx2.AsyncClient() as http:
            tokens = Tokens(AuthorizationServer(http, house.url, credential), clock)
            old = await tokens.token()
            await house.suspend("ada")
            clock.now += 500
            assert await tokens.token() == old
            clock.now += 100
            with pytest.raises(Unauthenticated):
                await tokens.token()


async def test_a_token_that_is_refused_is_replaced_once():
    async with agent() as (broker, house):
        stale = await broker.token()
        broker._tokens._current = AccessToken(stale[:-8] + "AAAAAAAA", 1e12, 1e12)
        assert (await broker.call("kit__say", {"text": "again"})).data == {"said": "again"}
        assert house.requests[2:] == ["/oauth/token", "/mcp", "/oauth/token", "/mcp"]


async def test_a_suspended_agent_is_told_that_it_may_not_act():
    async with agent() as (broker, house):
        await broker.call("kit__say", {"text": "before"})
        await house.suspend("ada")
        with pytest.raises(Unauthenticated) as caught:
            await broker.call("kit__say", {"text": "after"})
    assert "ada" in caught.value.message


async def test_a_wrong_secret_is_called_that_and_not_repeated(caplog):
    caplog.set_level(logging.DEBUG)
    async with living(Kit().connector) as house:
        await house.enrol("ada")
        async with Broker(house.url, client_id="ada", client_secret="bk_wrong_secret") as broker:
            with pytest.raises(Unauthenticated, match="no token for `ada`") as caught:
                await broker.tools()
    assert "check client id and credential" in caught.value.hint
    assert (
        "wrong_secret" not in f"{caught.value} {broker!r} {vars(broker)} {vars(broker._tokens)} {caplog.text}"
    )


async def test_tokens_are_in_no_log_line(caplog):
    caplog.set_level(logging.DEBUG)
    async with agent() as (broker, _):
        await broker.call("kit__say", {"text": "hello"})
        token = await broker.token()
    assert token not in caplog.text + repr(broker) + repr(vars(broker._tokens))


def _pem(key: ECKey | OKPKey | RSAKey) -> str:
    return key.as_pem(private=True).decode()


@pytest.mark.parametrize(
    "made",
    [
        new_key().private_pem,
        _pem(ECKey.generate_key("P-256")),
        _pem(RSAKey.generate_key(2048)),
        OKPKey.generate_key("Ed25519", {"kid": "mine"}).as_dict(private=True),
        json.dumps(ECKey.generate_key("P-256").as_dict(private=True)),
    ],
    ids=["new_key", "P-256", "RSA", "JWK with a kid", "JWK as text"],
)
async def test_an_agent_with_a_key_needs_no_secret(made):
    async with living(Kit().connector) as house:
        await house.enrol("ada")
        await house.register("ada", private_key(made).as_dict(private=False))
        async with Broker(house.url, client_id="ada", private_key=made) as broker:
            assert (await broker.call("kit__say", {"text": "signed"})).data == {"said": "signed"}


async def test_a_new_key_is_known_by_its_public_half(tmp_path):
    pair = new_key()
    (tmp_path / "ada.key").write_text(pair.private_pem)
    async with living(Kit().connector) as house:
        await house.enrol("ada")
        await house.register("ada", pair.public_jwk)
        environ = {
            "BROKER_URL": house.url,
            "BROKER_CLIENT_ID": "ada",
            "BROKER_CLIENT_KEY_FILE": str(tmp_path / "ada.key"),
        }
        async with Broker.from_env(environ) as broker:
            assert await broker.tools()
    assert "d" not in pair.public_jwk
    assert pair.private_pem.splitlines()[1] not in repr(pair)


async def test_the_key_of_somebody_else_is_no_credential():
    async with living(Kit().connector) as house:
        await house.enrol("ada")
        await house.register("ada", new_key().public_jwk)
        async with Broker(house.url, client_id="ada", private_key=new_key().private_pem) as broker:
            with pytest.raises(Unauthenticated, match="no token for `ada`"):
                await broker.tools()


async def test_a_workload_that_its_platform_vouches_for_needs_no_credential_of_its_own(tmp_path):
    platform, workload = OKPKey.generate_key("Ed25519"), {"sub": "system:serviceaccount:agents:ada"}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [platform.as_dict(private=False)]}))
    federation = FederationSettings(
        issuer="https://platform.example",
        jwks=tmp_path / "jwks.json",
        audience="broker",
        agents={"ada": workload},
    )
    file, now = tmp_path / "token", int(time.time())
    claims = {"iss": "https://platform.example", "aud": "broker", "iat": now, "exp": now + 600, **workload}
    async with living(Kit().connector, federation=federation) as house:
        await house.enrol("ada")
        environ = {
            "BROKER_URL": house.url,
            "BROKER_CLIENT_ID": "ada",
            "BROKER_CLIENT_ASSERTION_FILE": str(file),
        }
        async with Broker.from_env(environ) as broker:
            with pytest.raises(ConfigurationError, match="workload token"):
                await broker.tools()
            file.write_text(jwt.encode({"alg": "Ed25519"}, claims, platform, algorithms=["Ed25519"]))
            assert (await broker.call("kit__say", {"text": "vouched"})).data == {"said": "vouched"}


@pytest.mark.parametrize(
    "material",
    [
        "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----",
        "secret",
        '{"kty": "oct", "k": "c2VjcmV0"}',
        '{"kty": "secret"}',
        '["secret"]',
        _pem(ECKey.generate_key("P-384")),
        _pem(OKPKey.generate_key("X25519")),
        OKPKey.generate_key("Ed25519").as_dict(private=False),
    ],
)
def test_a_key_that_cannot_sign_is_refused_and_not_repeated(material):
    with pytest.raises(ConfigurationError, match="no private key") as caught:
        Broker(client_id="ada", private_key=material)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_broker_that_is_not_there_is_named_by_its_url():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with Broker(url, client_id="ada", client_secret="bk_x") as broker:
        with pytest.raises(UpstreamUnreachable, match=url) as caught:
            await broker.call("kit__say")
    assert "BROKER_URL" in caught.value.hint


async def test_a_connection_that_breaks_before_the_answer_leaves_the_effect_open():
    async with agent() as (broker, _):
        await broker.token()
        async with _hanging_up() as port:
            broker._endpoint._url = f"http://127.0.0.1:{port}"
            with pytest.raises(UpstreamLost) as caught:
                await broker.call("kit__say", {"text": "hello"})
    assert "look before you repeat it" in caught.value.hint


@asynccontextmanager
async def _hanging_up() -> AsyncGenerator[int]:
    """A server that reads a request and closes the connection."""

    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        yield listener.listeners[0].extra_attributes[anyio.abc.SocketAttribute.local_port]()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://broker.example", "in the clear"),
        ("http://127.0.0.1.example", "in the clear"),
        ("broker.example:8321", "no URL of a broker"),
        ("https://broker.example/some/path", "no URL of a broker"),
        ("https://", "no URL of a broker"),
    ],
)
def test_a_url_that_secrets_must_not_go_to_is_refused_at_once(url, fault):
    with pytest.raises(ConfigurationError, match=fault):
        Broker(url, client_id="ada", client_secret="bk_x")


@pytest.mark.parametrize(
    "url", ["http://localhost:8321", "http://[::1]:8321", "https://broker.example", "https://b.example/mcp/"]
)
def test_the_url_of_the_mcp_endpoint_is_that_of_the_broker_too(url):
    broker = Broker(url, client_id="ada", client_secret="bk_x")
    assert broker.url == url.removesuffix("/mcp/")
    assert broker.mcp_url == broker.url + "/mcp"


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({}, "BROKER_CLIENT_ID"),
        ({"BROKER_CLIENT_ID": "ada"}, "BROKER_CLIENT_SECRET"),
        (
            {
                "BROKER_CLIENT_ID": "ada",
                "BROKER_CLIENT_SECRET": "bk_x",
                "BROKER_CLIENT_ASSERTION_FILE": "/var/run/token",
            },
            "one of",
        ),
        ({"BROKER_CLIENT_ID": "ada", "BROKER_CLIENT_SECRET": ""}, "BROKER_CLIENT_SECRET"),
    ],
)
def test_the_environment_is_checked_and_what_is_missing_is_named(environ, fault):
    with pytest.raises(ConfigurationError) as caught:
        Broker.from_env(environ)
    assert fault in caught.value.hint


async def test_an_agent_is_set_up_by_its_environment_alone(tmp_path):
    async with living(Kit().connector) as house:
        (tmp_path / "secret").write_text(await house.enrol("ada") + "\n")
        environ = {
            "BROKER_URL": house.url,
            "BROKER_CLIENT_ID": "ada",
            "BROKER_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
        }
        async with Broker.from_env(environ) as broker:
            assert (await broker.call("kit__say", {"text": "hello"})).data == {"said": "hello"}


def test_a_secret_file_that_is_not_there_is_named(tmp_path):
    environ = {"BROKER_CLIENT_ID": "ada", "BROKER_CLIENT_SECRET_FILE": str(tmp_path / "missing")}
    with pytest.raises(ConfigurationError, match="missing"):
        Broker.from_env(environ)


async def test_plain_mcp_uses_the_tokens_and_its_calls_do_not_wait_for_each_other():
    kit = Kit()
    async with (
        agent(kit) as (broker, house),
        httpx2.AsyncClient(auth=broker.auth()) as http,
        Client(streamable_http_client(broker.mcp_url, http_client=http)) as plain,
    ):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(plain.call_tool, "kit__wait")
            await until(lambda: kit.started == 4)
            kit.go_on.set()
        assert house.requests.count("/oauth/token") == 1


async def test_plain_mcp_gets_a_new_token_when_the_old_one_is_refused():
    async with agent() as (broker, _), httpx2.AsyncClient(auth=broker.auth()) as http:
        stale = await broker.token()
        broker._tokens._current = AccessToken(stale[:-8] + "AAAAAAAA", 1e12, 1e12)
        async with Client(streamable_http_client(broker.mcp_url, http_client=http)) as plain:
            result = await plain.call_tool("kit__say", {"text": "plain"})
    assert result.structured_content == {"said": "plain"}


async def test_a_token_is_sent_to_its_broker_and_to_nobody_else():
    async with agent() as (broker, house), httpx2.AsyncClient(auth=broker.auth()) as http:
        port = house.url.rpartition(":")[2]
        for other in (f"http://localhost:{port}/mcp", "http://127.0.0.1:1/mcp", f"https://127.0.0.1:{port}/"):
            with pytest.raises(ConfigurationError, match="is not sent to"):
                await http.get(other)


async def test_a_call_that_follows_another_names_it_as_its_claimed_parent():
    async with agent() as (broker, house):
        first = await broker.call("kit__say", {"text": "one"})
        with following(first):
            second = await broker.call("kit__say", {"text": "two"})
        third = await broker.call("kit__say", {"text": "three"})
        causes = {record["call"]: record["cause"] for record in await house.records("call.intent")}
    assert first.call_id in str(causes[second.call_id])
    assert first.call_id not in str(causes[third.call_id])


def test_calls_carry_what_the_request_came_with_and_nothing_else_of_it():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    came_with = {DELEGATION: "token", "traceparent": trace, PARENT: "claimed", "progressToken": 7}
    with acting_on(came_with):
        assert meta() == {DELEGATION: "token", "traceparent": trace}
        with following("call-1"):
            assert meta() == {DELEGATION: "token", "traceparent": trace, PARENT: "call-1"}
        with acting_on(None):
            assert meta() == {}, "a request without a delegation is not served under another one's"
        assert meta()[DELEGATION] == "token"
    assert meta() == {}


def test_a_delegation_that_was_handed_over_in_another_way_serves_too():
    with acting_on("token"):
        assert meta() == {DELEGATION: "token"}
    with acting_on({DELEGATION: ["not", "a", "token"]}):
        assert meta() == {}


async def test_tasks_inherit_for_whom_they_act_and_requests_do_not_mix():
    seen: dict[str, object] = {}

    async def note(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        seen[name] = meta().get(DELEGATION)

    async def serve(name: str) -> None:
        with acting_on({DELEGATION: name}):
            async with anyio.create_task_group() as inner:
                inner.start_soon(note, name)

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(serve, name)
        tasks.start_soon(note, "outside")
    assert seen == {"a": "a", "b": "b", "c": "c", "outside": None}


def test_a_delegation_token_shows_in_no_repr():
    with acting_on({DELEGATION: "very-secret"}):
        assert "very-secret" not in repr(public.context._cause.get())


@asynccontextmanager
async def two_agents() -> AsyncGenerator[tuple[Broker, Broker, Living]]:
    """`ada`, who may delegate, and `bob`."""
    async with living(Kit().connector) as house:
        ada = Broker(house.url, client_id="ada", client_secret=await house.enrol("ada", "lead"))
        bob = Broker(house.url, client_id="bob", client_secret=await house.enrol("bob", "lead"))
        async with ada, bob:
            yield ada, bob, house


async def test_what_was_handed_on_works_for_the_other_agent_within_its_limits():
    async with two_agents() as (ada, bob, house):
        async with ada.delegate(to="bob", task="say it", tools=["kit__say"]) as grant:
            with acting_on(grant.meta()):
                assert [tool.name for tool in await bob.tools()] == ["kit__say"]
                answer = await bob.call("kit__say", {"text": "for ada"})
                with pytest.raises(Refused):
                    await bob.call("kit__count", {"to": 1})
            assert await bob.call("kit__count", {"to": 1}), "on its own account"
        intents = {record["call"]: record for record in await house.records("call.intent")}
        (handed,) = await house.records("delegation.created")
    assert intents[answer.call_id]["actor"]["chain"] == ["bob", "ada"]
    assert (handed["to"], handed["task"], handed["tools"]) == ("bob", "say it", ["kit__say"])


async def test_leaving_the_block_takes_it_back():
    async with two_agents() as (ada, bob, _):
        async with ada.delegate(to="bob") as grant:
            with acting_on(grant.token):
                await bob.call("kit__say", {"text": "before"})
        with acting_on(grant.token):
            for after in (bob.call("kit__say", {"text": "after"}), bob.tools()):
                with pytest.raises(Denied, match="revoked") as caught:
                    await after
                assert caught.value.hint == "ask `ada` to delegate again"


async def test_it_is_taken_back_when_the_block_fails_or_is_cancelled_too():
    grants = []

    async def failing() -> None:
        async with ada.delegate(to="bob") as grant:
            grants.append(grant)
            raise ZeroDivisionError

    async def waiting(scope: anyio.CancelScope) -> None:
        async with ada.delegate(to="bob") as grant:
            grants.append(grant)
            scope.cancel()
            await anyio.sleep_forever()

    async with two_agents() as (ada, bob, _):
        with pytest.raises(ZeroDivisionError):
            await failing()
        with anyio.CancelScope() as scope:
            await waiting(scope)
        for grant in grants:
            with acting_on(grant.token), pytest.raises(Refused):
                await bob.call("kit__say", {"text": "after"})
    assert len(grants) == 2


async def test_conditions_on_arguments_hold_and_calls_and_money_run_out():
    async with two_agents() as (ada, bob, _):
        only = {"kit__say": {"text": {"constraint_type": "one_of", "values": ["yes", "no"]}}}
        async with ada.delegate(to="bob", tools=only, max_calls=2) as grant:
            with acting_on(grant.token):
                with pytest.raises(Denied):
                    await bob.call("kit__say", {"text": "perhaps"})
                await bob.call("kit__say", {"text": "yes"})
                await bob.call("kit__say", {"text": "no"})
                with pytest.raises(Refused):
                    await bob.call("kit__say", {"text": "no"})
        async with ada.delegate(to="bob", budget_usd="0.0015") as grant:
            with acting_on(grant.token):
                await bob.call("kit__say", {"text": "one"})
                with pytest.raises(BudgetExceeded):
                    await bob.call("kit__say", {"text": "two"})


async def test_what_was_handed_on_is_of_no_use_to_anybody_else():
    async with two_agents() as (ada, _, house):
        eve = Broker(house.url, client_id="eve", client_secret=await house.enrol("eve", "lead"))
        async with eve, ada.delegate(to="bob") as grant:
            with acting_on(grant.token), pytest.raises(Denied):
                await eve.call("kit__say", {"text": "stolen"})


async def test_within_a_delegation_it_is_that_which_is_handed_on():
    async with two_agents() as (ada, bob, house):
        eve = Broker(house.url, client_id="eve", client_secret=await house.enrol("eve"))
        async with eve, ada.delegate(to="bob", tools=["kit__say"]) as first:
            with acting_on(first.token):
                async with bob.delegate(to="eve") as second:
                    with acting_on(second.token):
                        answer = await eve.call("kit__say", {"text": "for ada"})
                        assert [tool.name for tool in await eve.tools()] == ["kit__say"]
                with pytest.raises(Denied, match="kit__count"):
                    async with bob.delegate(to="eve", tools=["kit__count"]):
                        pass
        (intent,) = await house.records("call.intent")
    assert intent["call"] == answer.call_id
    assert intent["actor"]["chain"] == ["eve", "bob", "ada"]


@pytest.mark.parametrize(
    ("wish", "fault"),
    [
        ({"to": "nobody"}, "no agent nobody"),
        ({"to": "ada"}, "in the chain already"),
        ({"to": "bob", "expires_in_s": 3600}, "ask for"),
        ({"to": "bob", "max_depth": 99}, "max_depth"),
        ({"to": "bob", "task": "line\nbreak"}, "printable"),
        ({"to": "bob", "tools": {"kit__say": {"text": {"constraint_type": "guess"}}}}, "constraint_type"),
    ],
)
async def test_what_cannot_be_handed_on_is_refused_with_the_reason(wish, fault):
    async with two_agents() as (ada, _, _house):
        with pytest.raises(Denied, match=fault) as caught:
            async with ada.delegate(**wish):
                pass
    assert caught.value.because[0].rule


async def test_an_agent_whose_roles_do_not_say_so_may_not_delegate():
    async with agent() as (broker, house):
        await house.enrol("bob")
        with pytest.raises(Denied, match="may_delegate_to"):
            async with broker.delegate(to="bob"):
                pass


@pytest.mark.parametrize(
    "wish",
    [{"budget_usd": text} for text in ("a lot", "0.0000001", "-1", "NaN", "Infinity")] + [{"tools": "x"}],
)
async def test_a_wish_that_cannot_be_meant_is_refused_before_anything_is_sent(wish):
    async with Broker(client_id="ada", client_secret="bk_x") as broker:
        broker._tokens._current = AccessToken("token", 1e12, 1e12)
        with pytest.raises(InvalidRequest):
            async with broker.delegate(to="bob", **wish):
                pass


async def test_a_token_that_would_end_too_soon_is_renewed_before_it_is_handed_on():
    async with two_agents() as (ada, _, house):
        soon = time.monotonic() + 300
        ada._tokens._current = AccessToken(await ada.token(), soon, soon)
        async with ada.delegate(to="bob", expires_in_s=400) as grant:
            assert grant.expires_in_s == 400
    assert house.requests.count("/oauth/token") == 3


def test_everything_that_is_public_is_there():
    assert all(hasattr(public, name) for name in public.__all__)
