"""Somebody who measures: whether a client exists must not show in what the broker does, nor for how long.

Clocks on a shared machine prove nothing, so what is compared is the work: the same questions to the
store, the same comparisons, as many signatures checked.
"""

from contextlib import asynccontextmanager

import httpx2
import pytest

from broker.identity import clients, jwks
from broker.identity.assertions import ASSERTION_TYPE
from broker.model import AgentStatus
from broker.settings import Settings
from tests.unit.edges.serving import Broker, broker_for
from tests.unit.identity.signing import EC, OF, Signer, public

GRANT = {"grant_type": "client_credentials"}


class Work:
    """What was done for one request."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        for name in ("agent", "secrets", "keys"):
            monkeypatch.setattr(broker.agents, name, self._noting(name, getattr(broker.agents, name)))
        compare, signed = clients.compare_digest, jwks.PublicKey.signed

        def compared(a: bytes, b: bytes) -> bool:
            assert len(a) == len(b) == 32
            self.done.append("compare_digest")
            return compare(a, b)

        def checked(key: jwks.PublicKey, token) -> bool:
            self.done.append(f"verify {token.header['alg']}")
            return signed(key, token)

        monkeypatch.setattr(clients, "compare_digest", compared)
        monkeypatch.setattr(jwks.PublicKey, "signed", checked)

    def _noting(self, name: str, asked):
        async def noted(agent_id):
            self.done.append(name)
            return await asked(agent_id)

        return noted

    def taken(self) -> list[str]:
        done, self.done = self.done, []
        return done


@asynccontextmanager
async def measured(monkeypatch):
    broker = await broker_for(Settings())
    for name in ("researcher", "sleeper"):
        broker.agents.enrol(name)
        broker.agents.register(name, public(EC))
    broker.agents.enrol("keyless")
    broker.agents.set_status("sleeper", AgentStatus.SUSPENDED)
    work = Work(broker, monkeypatch)

    async def ask(**request) -> list[str]:
        transport = httpx2.ASGITransport(broker.app)
        async with httpx2.AsyncClient(transport=transport, base_url=broker.url) as client:
            answered = await client.post("/oauth/token", **request)
        assert answered.status_code == 401
        return work.taken()

    yield broker, ask


@pytest.mark.parametrize("length", [0, 1, 10, 46, 5000])
async def test_whatever_secret_is_tried_for_whomever_digests_are_compared_in_constant_time(
    monkeypatch, length
):
    async with measured(monkeypatch) as (_, ask):
        tried = [
            await ask(data=GRANT | {"client_id": name, "client_secret": "x" * length or "y"})
            for name in ("researcher", "sleeper", "keyless", "nobody")
        ]
    assert tried == [["agent", "secrets", "compare_digest"]] * 4


@pytest.mark.parametrize("algorithm", OF)
async def test_an_assertion_of_an_unknown_client_takes_a_signature_check_like_a_known_one(
    monkeypatch, algorithm
):
    async with measured(monkeypatch) as (_, ask):
        tried = []
        for name in ("researcher", "sleeper", "keyless", "nobody"):
            assertion = Signer(name, "https://other.example", OF[algorithm], algorithm).assertion()
            form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
            tried.append(await ask(data=GRANT | form))
    assert tried == [["agent", "keys", f"verify {algorithm}"]] * 4


async def test_what_cannot_be_read_is_refused_without_asking_for_anybody_s_credentials(monkeypatch):
    async with measured(monkeypatch) as (_, ask):
        form = GRANT | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "e30.e30.e30"}
        tried = [await ask(data=form | {"client_id": name}) for name in ("researcher", "nobody")]
    assert tried == [["agent"]] * 2
