"""Where does an agent send its credentials? Only where the broker that it asked says, about itself."""

from typing import Any

import httpx2
import pytest

from broker.client import Broker, BrokerError, ConfigurationError, UpstreamRefused

URL = "https://broker.example"
RESOURCE: dict[str, Any] = {"resource": f"{URL}/mcp", "authorization_servers": ["https://as.example/tenant"]}
SERVER: dict[str, Any] = {
    "issuer": "https://as.example/tenant",
    "token_endpoint": "https://as.example/tenant/token",
}
PATHS = {
    "broker.example/.well-known/oauth-protected-resource/mcp": "resource",
    "as.example/.well-known/oauth-authorization-server/tenant": "server",
}


class Published:
    """What a broker and its authorization server publish, and what is asked of them."""

    def __init__(self, **documents: Any) -> None:
        self._documents = {"resource": RESOURCE, "server": SERVER} | documents
        self.tokens: list[httpx2.Request] = []

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/token"):
            self.tokens.append(request)
            return httpx2.Response(200, json={"access_token": "t", "expires_in": 60, "token_type": "Bearer"})
        document = self._documents[PATHS[f"{request.url.host}{request.url.path}"]]
        return document if isinstance(document, httpx2.Response) else httpx2.Response(200, json=document)

    async def token(self) -> str:
        transport = httpx2.MockTransport(self.answer)
        async with Broker(URL, client_id="ada", client_secret="s", transport=transport) as broker:
            return await broker.token()


async def test_tokens_are_got_where_the_broker_says_and_for_the_broker() -> None:
    published = Published()
    assert await published.token() == "t"
    (request,) = published.tokens
    assert str(request.url) == "https://as.example/tenant/token"
    assert b"resource=https%3A%2F%2Fbroker.example%2Fmcp" in request.content


@pytest.mark.parametrize(
    "documents",
    [
        {"resource": RESOURCE | {"resource": "https://other.example/mcp"}},
        {"resource": {"authorization_servers": RESOURCE["authorization_servers"]}},
        {"resource": RESOURCE | {"authorization_servers": []}},
        {"resource": RESOURCE | {"authorization_servers": "https://as.example/tenant"}},
        {"resource": RESOURCE | {"authorization_servers": [{}]}},
        {"resource": RESOURCE | {"authorization_servers": ["http://as.example/tenant"]}},
        {"resource": RESOURCE | {"authorization_servers": ["file:///tenant"]}},
        {"server": SERVER | {"issuer": "https://as.example"}},
        {"server": SERVER | {"issuer": "https://as.example/tenant/"}},
        {"server": SERVER | {"token_endpoint": "http://as.example/tenant/token"}},
        {"server": SERVER | {"token_endpoint": None}},
        {"server": SERVER | {"token_endpoint": "/tenant/token"}},
        {"server": httpx2.Response(404)},
        {"server": httpx2.Response(302, headers={"location": "https://elsewhere.example/"})},
        {"resource": httpx2.Response(200, content=b"<html>")},
    ],
)
async def test_credentials_go_nowhere_that_is_not_said_exactly(documents: dict[str, Any]) -> None:
    published = Published(**documents)
    with pytest.raises((ConfigurationError, UpstreamRefused)) as refused:
        await published.token()
    assert refused.value.hint
    assert published.tokens == []


async def test_where_tokens_are_is_asked_again_after_it_could_not_be_learnt() -> None:
    broken, whole = Published(server=httpx2.Response(503)), Published()
    now = broken

    def answer(request: httpx2.Request) -> httpx2.Response:
        return now.answer(request)

    transport = httpx2.MockTransport(answer)
    async with Broker(URL, client_id="ada", client_secret="s", transport=transport) as broker:
        with pytest.raises(BrokerError):
            await broker.token()
        now = whole
        assert await broker.token() == "t"


async def test_a_token_is_not_taken_back_where_none_can_be() -> None:
    transport = httpx2.MockTransport(Published().answer)
    async with Broker(URL, client_id="ada", client_secret="s", transport=transport) as broker:
        with pytest.raises(UpstreamRefused, match="revokes no tokens"):
            async with broker.delegate("ben"):
                pass
