"""Somebody without the right secret, or with a request that can be read in two ways."""

import base64
from contextlib import asynccontextmanager

import httpx2
import pytest

from broker.identity.clients import FAILURES_ALLOWED
from broker.model import AgentStatus
from broker.settings import Settings
from tests.unit.edges.serving import broker_for

FORM = {"content-type": "application/x-www-form-urlencoded"}
GRANT = {"grant_type": "client_credentials"}


@asynccontextmanager
async def endpoint():
    broker = await broker_for(Settings())
    secret = broker.agents.enrol("researcher")

    def at(address: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(broker.app, client=(address, 1))
        return httpx2.AsyncClient(transport=transport, base_url=broker.url)

    async with at("192.0.2.1") as client:
        yield broker, secret, client, at


def answer(response: httpx2.Response) -> tuple:
    return response.status_code, response.content, sorted(response.headers.multi_items())


async def test_unknown_wrong_suspended_and_missing_are_one_answer_byte_for_byte():
    async with endpoint() as (broker, secret, client, _):
        sleeping = broker.agents.enrol("sleeper")
        broker.agents.set_status("sleeper", AgentStatus.SUSPENDED)
        answers = [
            answer(await client.post("/oauth/token", data=GRANT, auth=auth))
            for auth in (("researcher", "bk_wrong"), ("nobody", secret), ("sleeper", sleeping))
        ]
        answers += [
            answer(await client.post("/oauth/token", data={**GRANT, **body}))
            for body in (
                {"client_id": "researcher", "client_secret": "bk_wrong"},
                {"client_id": "nobody", "client_secret": secret},
                {"client_id": "researcher"},
                {},
            )
        ]
    assert answers == [answers[0]] * len(answers)
    assert answers[0][0] == 401
    assert b"invalid_client" in answers[0][1]


async def test_a_wrong_secret_takes_the_store_the_same_way_as_an_unknown_client():
    async with endpoint() as (broker, _, client, _at):
        asked = []
        agent, secrets = broker.agents.agent, broker.agents.secrets

        async def noted_agent(agent_id):
            asked.append("agent")
            return await agent(agent_id)

        async def noted_secrets(agent_id):
            asked.append("secrets")
            return await secrets(agent_id)

        broker.agents.agent, broker.agents.secrets = noted_agent, noted_secrets
        await client.post("/oauth/token", data=GRANT, auth=("researcher", "bk_wrong"))
        known, asked[:] = list(asked), []
        await client.post("/oauth/token", data=GRANT, auth=("nobody", "bk_wrong"))
    assert asked == known == ["agent", "secrets"]


async def test_a_refusal_is_recorded_only_after_it_was_sent_so_that_recording_tells_nothing():
    async with endpoint() as (broker, _, _client, _at):
        seen = []
        record = broker.log.token_refused

        async def noted(*args, **facts):
            seen.append("recorded")
            await record(*args, **facts)

        broker.log.token_refused = noted
        body = b"grant_type=client_credentials&client_id=researcher&client_secret=bk_wrong"

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            seen.append(message["type"])

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/oauth/token",
            "query_string": b"",
            "headers": [
                (b"host", broker.url.removeprefix("http://").encode()),
                (b"content-type", FORM["content-type"].encode()),
            ],
            "client": ("192.0.2.1", 1),
        }
        await broker.app(scope, receive, send)
    assert seen == ["http.response.start", "http.response.body", "recorded"]


async def test_two_ways_to_authenticate_at_once_are_refused_even_if_both_are_right():
    async with endpoint() as (broker, secret, client, _):
        both = {"client_id": "researcher", "client_secret": secret}
        assertion = {"client_assertion": "x", "client_assertion_type": "y"}
        attempts = [
            await client.post("/oauth/token", data=GRANT | both, auth=("researcher", secret)),
            await client.post("/oauth/token", data=GRANT | assertion, auth=("researcher", secret)),
            await client.post("/oauth/token", data=GRANT | assertion | both),
            await client.post("/oauth/token", data=GRANT | both, headers={"authorization": "Bearer x"}),
            await client.post("/oauth/token", data=GRANT | {"client_id": "x"}, auth=("researcher", secret)),
            await client.post(
                "/oauth/token",
                data=GRANT,
                headers=[("authorization", basic("researcher", secret))] * 2,
            ),
        ]
    assert [(a.status_code, a.json()["error"]) for a in attempts] == [(400, "invalid_request")] * 6
    assert broker.log.issued == []


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic %%%",
        "Basic /////w==",
        "Basic Og==",
        "Basic eA==",
        "Bearer x",
        "Negotiate x",
        "Basic JWZmOng=",
    ],
)
async def test_malformed_credentials_are_wrong_credentials(header):
    async with endpoint() as (_, _, client, _at):
        refused = await client.post("/oauth/token", data=GRANT, headers={"authorization": header})
        wrong = await client.post("/oauth/token", data=GRANT, auth=("researcher", "bk_wrong"))
    assert answer(refused) == answer(wrong)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_only_post_gives_tokens(method):
    async with endpoint() as (broker, secret, client, _):
        refused = await client.request(method, "/oauth/token", auth=("researcher", secret))
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert broker.log.issued == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b'{"grant_type":"client_credentials"}'),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--"),
        ({"content-type": "text/plain"}, b"grant_type=client_credentials"),
        ({}, b"grant_type=client_credentials"),
        (FORM, b"grant_type=client_credentials&grant_type=client_credentials"),
        (FORM, b"grant_type=client_credentials&scope=&scope=a"),
        (FORM, b"grant_type=client_credentials&%73cope=a&scope=b"),
        (FORM, b"grant_type=client_credentials&x=%ff"),
        (FORM, b"grant_type=client_credentials&x=\xff"),
        (FORM, b"grant_type=client_credentials" + b"&a=b" * 100),
    ],
)
async def test_what_is_not_one_clear_form_is_refused_before_the_secret_is_looked_at(headers, body):
    async with endpoint() as (broker, secret, client, _):
        refused = await client.post(
            "/oauth/token", content=body, headers=headers, auth=("researcher", secret)
        )
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert broker.log.issued == []
    assert broker.log.refused == []


async def test_secrets_in_the_url_are_refused():
    async with endpoint() as (_, secret, client, _at):
        query = {"client_id": "researcher", "client_secret": secret}
        refused = await client.post("/oauth/token", params=query, data=GRANT)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_huge_body_is_not_read(chunked):
    async with endpoint() as (_, _, client, _at):
        read = 0

        async def endless():
            nonlocal read
            while True:
                read += 1
                yield b"a" * 1024

        if chunked:
            refused = await client.post("/oauth/token", content=endless(), headers=FORM)
            assert read <= 33 + 1
        else:
            refused = await client.post("/oauth/token", content=b"a" * 40_000, headers=FORM)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")


async def test_guessing_is_slowed_down_here_and_nobody_is_locked_out_elsewhere():
    async with endpoint() as (broker, secret, client, at):
        for _ in range(FAILURES_ALLOWED):
            wrong = await client.post("/oauth/token", data=GRANT, auth=("researcher", "bk_wrong"))
            assert wrong.status_code == 401
        slowed = await client.post("/oauth/token", data=GRANT, auth=("researcher", secret))
        assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "60")
        async with at("192.0.2.2") as elsewhere:
            there = await elsewhere.post("/oauth/token", data=GRANT, auth=("researcher", secret))
        assert there.status_code == 200
        broker.clock.now += 60
        again = await client.post("/oauth/token", data=GRANT, auth=("researcher", secret))
        assert again.status_code == 200
    assert broker.log.refused == [("researcher", "invalid_client")] * FAILURES_ALLOWED


async def test_an_unknown_client_is_slowed_down_just_like_a_known_one():
    async with endpoint() as (_, _, client, _at):
        last = []
        for name in ("researcher", "nobody"):
            for _ in range(FAILURES_ALLOWED + 1):
                refused = await client.post("/oauth/token", data=GRANT, auth=(name, "bk_wrong"))
            last.append(answer(refused))
    assert last[0] == last[1]
    assert last[0][0] == 429


async def test_no_token_is_ever_logged(caplog):
    caplog.set_level("DEBUG")
    async with endpoint() as (_, secret, client, _at):
        token = (await client.post("/oauth/token", data=GRANT, auth=("researcher", secret))).json()
    assert token["access_token"] not in caplog.text
    assert secret not in caplog.text
