"""What does it cost to know who is calling? Tokens at their endpoint, and their check on every call.

    scripts/bench identity [--quick] [--json]

The endpoint is measured in a broker process of its own, as the CPU time of that process per request; the
checks, which take microseconds, as CPU time in this process, on a store with real grants in it.
"""

import argparse
import asyncio
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import uvloop

from benchmarks.governed import Broker
from benchmarks.process import Server
from broker.client.credentials import ClientKey, new_key, private_key
from broker.grants import Delegator, Grants
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.chains import Chains
from broker.identity.clients import digest, new_secret
from broker.identity.delegation import Delegations, Wish
from broker.identity.keys import load_keys
from broker.identity.tokens import DEFAULT_SCOPES
from broker.journal import Journal
from broker.model import Agent, AgentId, OrganisationId, Principal
from broker.settings import Settings
from broker.storage.sqlite import open_store
from broker.storage.store import Store

GOALS_MS = {"secret": 2.0, "assertion": 2.0, "exchange": 3.0, "exchange_assertion": 3.0}
GOALS_US = {"cache_hit": 5.0, "chain_of_4": 1.0}
DEPTH = 4
LEAD = 'role: lead\nallow: [{tools: ["*"]}]\nmay_delegate_to: ["*"]\n'
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "requested_actor": "helper",
}
Form = dict[str, str]


class Desk:
    """A broker with two agents, and one connection to its token endpoint."""

    def __init__(self, folder: Path) -> None:
        self.broker = Broker(folder)
        (folder / "policies" / "roles" / "lead.yaml").write_text(LEAD)
        self.secret = self._enrol("boss")
        self._enrol("helper")
        pair = new_key()
        public = folder / "key.jwk"
        public.write_text(json.dumps(pair.public_jwk))
        self._command("agent", "key", "add", "boss", "--jwk", str(public))
        self.key = ClientKey("boss", private_key(pair.private_pem))

    def _enrol(self, name: str) -> str:
        return json.loads(self._command("agent", "add", name, "--role", "lead"))["client_secret"]

    def _command(self, *words: str) -> str:
        return self.broker.command(*words, "--config", str(self.broker.config), "--json")

    def by_secret(self) -> Form:
        return {"client_id": "boss", "client_secret": self.secret}

    def by_assertion(self) -> Form:
        issuer = self.broker.resource.removesuffix("/mcp") + "/oauth"
        return dict(self.key.proof(issuer).form)

    def token(self) -> Form:
        return {"grant_type": "client_credentials", "resource": self.broker.resource}


def endpoint(folder: Path, *, requests: int, repeats: int) -> dict[str, float]:
    """CPU milliseconds of the broker per request, by kind: the median of the repeats."""
    desk = Desk(folder)
    server = desk.broker.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        subject = _post(connection, desk.token() | desk.by_secret())["access_token"]
        kinds: dict[str, Callable[[], Form]] = {
            "secret": lambda: desk.token() | desk.by_secret(),
            "assertion": lambda: desk.token() | desk.by_assertion(),
            "exchange": lambda: EXCHANGE | {"subject_token": subject} | desk.by_secret(),
            "exchange_assertion": lambda: EXCHANGE | {"subject_token": subject} | desk.by_assertion(),
        }
        samples: dict[str, list[float]] = {kind: [] for kind in kinds}
        for repeat in range(repeats + 1):
            for kind, form in kinds.items():
                forms = [form() for _ in range(requests)]
                used = _measured(server, connection, forms)
                if repeat:  # the first round is for warming up
                    samples[kind].append(used)
        return {kind: median(found) for kind, found in samples.items()}
    finally:
        server.stop()


def _measured(server: Server, connection: http.client.HTTPConnection, forms: Sequence[Form]) -> float:
    before = server.cpu_ms()
    for form in forms:
        _post(connection, form)
    return (server.cpu_ms() - before) / len(forms)


def _post(connection: http.client.HTTPConnection, form: Form) -> dict[str, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/oauth/token", urlencode(form), headers)
    answer = connection.getresponse()
    body = json.load(answer)
    if answer.status != 200:
        raise SystemExit(f"the token endpoint answered {answer.status}: {body}")
    return body


async def checks(folder: Path, *, rounds: int) -> dict[str, float]:
    """CPU microseconds of each check that every call pays for, beyond a turn of the event loop."""
    async with open_store(folder / "broker.db", deployment="bench.local", serve=True) as store:
        house = _House(store, Settings())
        await house.build()
        token, delegation = house.bearer, house.delegation
        own = await house.identity.authenticate(token)

        async def authenticate() -> None:
            await house.identity.authenticate(token)

        async def act_for() -> None:
            await house.identity.authenticate(token)
            await house.identity.delegated(own, delegation)

        async def chain_only() -> None:
            await house.identity.authenticate(token)
            await house.chains.under(own, house.hop, DEFAULT_SCOPES)

        async def nothing() -> None:
            pass

        turn = await _cpu_us(nothing, rounds)
        hit = await _cpu_us(authenticate, rounds) - turn
        return {
            "cache_hit": hit,
            "chain_of_4": await _cpu_us(chain_only, rounds) - turn - hit,
            "delegation_token": await _cpu_us(act_for, rounds) - turn - hit,
        }


class _House:
    """Five agents in a row, each working for the one before, in a real store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def build(self) -> None:
        store, settings = self._store, self._settings
        keys = await load_keys(store.keys, time.time)
        journal = Journal(store.journal, keys.digest)
        agents = [
            Agent(AgentId(f"agent-{n}"), OrganisationId("bench"), frozenset({"lead"}))
            for n in range(DEPTH + 1)
        ]
        for agent in agents:
            await journal.enrol(agent, digest(new_secret()), by="bench")
        self.chains = Chains(store.agents, store.grants, time.time)
        self.identity = TokenAuthenticator(settings, keys, store.agents, self.chains)
        tokens = access_tokens(settings, keys, time.time)
        bearers = [tokens.mint(agent, DEFAULT_SCOPES).compact for agent in agents]
        delegator = Delegator(
            Delegations(tokens, store.agents, _everybody_may, time.time), Grants(store.grants)
        )
        self.delegation = ""
        for by, to in zip(range(DEPTH), range(1, DEPTH + 1), strict=True):
            principal = await self._acting(bearers[by])
            grant = await delegator.plan(principal, Wish(agents[to].id))
            parent = self.delegation or bearers[by]
            self.delegation = (await delegator.hand_over(principal, grant, parent, DEFAULT_SCOPES)).compact
            self.hop = grant.id
        self.bearer = bearers[-1]

    async def _acting(self, bearer: str) -> Principal:
        own = await self.identity.authenticate(bearer)
        return await self.identity.delegated(own, self.delegation) if self.delegation else own


def _everybody_may(by: Agent, to: Agent) -> bool:
    return by is not to


async def _cpu_us(work: Callable[[], Awaitable[None]], rounds: int) -> float:
    """The median over batches, each with a turn of the event loop for every round, as every call has one."""
    return median([await _batch_us(work, rounds // 20) for _ in range(20)])


async def _batch_us(work: Callable[[], Awaitable[None]], rounds: int) -> float:
    before = time.process_time_ns()
    for _ in range(rounds):
        await work()
        await asyncio.sleep(0)
    return (time.process_time_ns() - before) / rounds / 1000


def table(result: dict[str, dict[str, float]]) -> Iterator[str]:
    """Markdown, as it stands in `docs/reference/performance.md`."""
    names = {
        "secret": "a token for a secret",
        "assertion": "a token for an assertion (Ed25519)",
        "exchange": "an exchange, with a secret",
        "exchange_assertion": "an exchange, with an assertion",
        "cache_hit": "a token that was seen before",
        "chain_of_4": "its chain of four hops",
        "delegation_token": "the same, from a delegation token",
    }
    yield "| what | goal | CPU |"
    yield "|---|--:|--:|"
    for kind, used in result["endpoint_ms"].items():
        yield f"| {names[kind]} | {GOALS_MS[kind]:.0f} ms | {used:.2f} ms |"
    for kind, used in result["checks_us"].items():
        goal = f"{GOALS_US[kind]:.0f} µs" if kind in GOALS_US else ""
        yield f"| {names[kind]} | {goal} | {used:.1f} µs |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    requests, repeats, rounds = (20, 1, 400) if options.quick else (300, 3, 40_000)
    with tempfile.TemporaryDirectory(prefix="broker-bench-") as name:
        for part in ("endpoint", "checks"):
            (Path(name) / part).mkdir()
        result = {
            "endpoint_ms": endpoint(Path(name) / "endpoint", requests=requests, repeats=repeats),
            "checks_us": uvloop.run(checks(Path(name) / "checks", rounds=rounds)),
        }
    print(json.dumps(result) if options.json else "\n".join(table(result)))


if __name__ == "__main__":
    sys.exit(main())
