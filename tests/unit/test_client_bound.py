"""An agent whose tokens are bound to a key of its own: nobody else can use them, and it notices nothing."""

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from broker.client import Broker, ConfigurationError, acting_on
from tests.unit.living import Living, living
from tests.unit.test_client import Kit
from tests.unit.test_client_discovery import SERVER, URL, Published


def bound(house: Living, name: str, secret: str) -> Broker:
    return Broker(house.url, client_id=name, client_secret=secret, bound=True)


async def test_an_agent_with_bound_tokens_lists_calls_and_renews():
    async with living(Kit().connector) as house:
        async with bound(house, "ada", await house.enrol("ada")) as broker:
            assert "kit__say" in {tool.name for tool in await broker.tools()}
            assert (await broker.call("kit__say", {"text": "hello"})).data == {"said": "hello"}
            token = await broker.token()
            await broker._tokens.token(refused=token)
            assert (await broker.call("kit__say", {"text": "again"})).data == {"said": "again"}
        issued = await house.records("auth.token_issued")
        assert [record["bound"] for record in issued] == [True, True]


async def test_a_bound_token_is_of_no_use_to_whoever_else_has_it():
    async with living(Kit().connector) as house, bound(house, "ada", await house.enrol("ada")) as broker:
        stolen = await broker.token()
        headers = {"authorization": f"Bearer {stolen}", "accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(headers=headers) as thief:
            assert (await thief.post(broker.mcp_url, json={})).status_code == 401


async def test_plain_mcp_uses_bound_tokens_too():
    async with (
        living(Kit().connector) as house,
        bound(house, "ada", await house.enrol("ada")) as broker,
        httpx2.AsyncClient(auth=broker.auth()) as http,
        Client(streamable_http_client(broker.mcp_url, http_client=http)) as client,
    ):
        result = await client.call_tool("kit__say", {"text": "hello"})
        assert result.structured_content == {"said": "hello"}


async def test_authority_is_handed_on_with_a_bound_token_and_used_with_another_one():
    async with living(Kit().connector) as house:
        ada, ben = await house.enrol("ada", "lead"), await house.enrol("ben", "lead")
        async with (
            bound(house, "ada", ada) as one,
            bound(house, "ben", ben) as other,
            one.delegate("ben", task="say") as grant,
        ):
            with acting_on(grant.token):
                answer = await other.call("kit__say", {"text": "for ada"})
        (outcome,) = await house.records("call.intent")
        assert answer.data == {"said": "for ada"}
        assert outcome["actor"]["chain"] == ["ben", "ada"]


async def test_where_tokens_are_not_bound_an_agent_that_wants_it_gets_none():
    published = Published(server=SERVER | {"dpop_signing_alg_values_supported": ["ES256"]})
    transport = httpx2.MockTransport(published.answer)
    async with Broker(URL, client_id="ada", client_secret="s", bound=True, transport=transport) as broker:
        with pytest.raises(ConfigurationError, match="binds no tokens"):
            await broker.token()
    assert published.tokens == []
