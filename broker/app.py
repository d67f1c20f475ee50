"""The composition root: the only module that names implementations."""

import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.approvals.people import read_people
from broker.audit.checkpoint import Signer
from broker.audit.publication import Publication
from broker.audit.publisher import Publisher
from broker.catalog.catalog import LiveCatalog
from broker.catalog.facts import load_facts
from broker.catalog.installed import load
from broker.catalog.mount import Mount
from broker.catalog.names import Names
from broker.connector import Host
from broker.consents import Consents
from broker.credentials import Credentials
from broker.edges.admin import admin_route
from broker.edges.http import HostGuard
from broker.edges.mcp.endpoint import McpEndpoint
from broker.edges.oauth import routes as oauth_routes
from broker.edges.oauth.exchange import TokenExchange
from broker.edges.oauth.revocation import Revoker
from broker.errors import BrokerError, ConfigurationError, StorageUnavailable
from broker.flow.transactions import Transactions
from broker.grants import Delegator, Grants
from broker.guardrails.conduct import load_conduct
from broker.guardrails.registry import GUARDS
from broker.guardrails.screen import Screen
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.chains import Chains
from broker.identity.delegation import Delegations
from broker.identity.dpop import Proofs
from broker.identity.federation import Federation
from broker.identity.keys import Keys, load_keys
from broker.identity.seals import Sealer
from broker.identity.token_keys import TokenKeys
from broker.inflight import InFlight
from broker.journal import Journal
from broker.ledger.prices import Prices
from broker.ledger.rules import load_budgets
from broker.model import AgentId, Json, Kind, Target
from broker.operators import Operators
from broker.pipeline import Pipeline
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies
from broker.record import Scribe
from broker.references import resolve_secret
from broker.settings import ConnectorSettings, Settings
from broker.storage.sqlite import open_store
from broker.storage.store import Store

logger = logging.getLogger("broker.app")

KEYS_LOOK_S = 0.25
"""How often the signing keys are looked at for changes, in seconds."""

OVERRIDES_LOOK_S = 1.0
"""How often it is looked whether an operator has overridden a cap, in seconds."""

POLICY_LOOK_S = 1.0
"""How often the policy folder is looked at for changes, in seconds."""

APPROVALS_LOOK_S = 1.0
"""How often it is looked whether an approval has expired, in seconds."""

MANIFEST_LOOK_S = 1.0
"""How often it is looked whether a manifest has ended, in seconds."""


@dataclass(frozen=True, slots=True)
class Office:
    """What works on the state without serving: the command line's verbs about agents, calls and the log."""

    settings: Settings
    store: Store
    keys: Keys
    journal: Journal
    credentials: Credentials
    grants: Grants
    operators: Operators


@dataclass(frozen=True, slots=True)
class App:
    """A broker that is ready to serve: `asgi` is its web application."""

    settings: Settings
    store: Store
    keys: Keys
    journal: Journal
    credentials: Credentials
    grants: Grants
    operators: Operators
    policy: PolicyEngine
    catalog: LiveCatalog
    consents: Consents
    pipeline: Pipeline
    asgi: ASGIApp
    drain: Callable[[], None]
    """End all open streams in good order, so that the server can stop."""


@asynccontextmanager
async def office(settings: Settings, *, serve: bool = False) -> AsyncGenerator[Office]:
    """Open the state. With `serve` it is locked against a second server.

    Raises:
        ConfigurationError: the state cannot be opened, or another server holds it.
    """
    database = settings.state_dir / "broker.db"
    async with open_store(database, deployment=settings.deployment, serve=serve) as store:
        keys = await load_keys(store.keys, time.time)
        journal = Journal(store.journal, keys.digest)
        yield Office(
            settings,
            store,
            keys,
            journal,
            credentials=Credentials(store.credentials),
            grants=Grants(store.grants),
            operators=Operators(store.operators, Scribe(keys.digest).digest),
        )


@asynccontextmanager
async def running(settings: Settings, folder: Path = Path()) -> AsyncGenerator[App]:
    """A broker with everything open: state, policies, connectors. Leaving closes all of it in order.

    Args:
        settings: what is in force.
        folder: what relative paths of secrets start from (the folder of `broker.toml`).

    Raises:
        ConfigurationError: a file or a setting has to be mended before the broker can run.
    """
    async with office(settings, serve=True) as back, anyio.create_task_group() as tasks:
        closed = await back.journal.recover()
        if closed:
            logger.warning("closed %d calls as unknown that the last run left open", closed)
        policies = policies_dir(settings)
        policy = PolicyEngine(policies)
        prices = Prices(load_budgets(policies))
        conduct = load_conduct(policies, shipped_policies(), GUARDS)
        guards = Screen(settings.limits, conduct, back.keys.digest)
        await back.journal.policy_changed(policy.version)
        news = News(back.store)
        transactions = Transactions(back.store.flow, back.keys.digest)
        catalog = LiveCatalog(
            [_mount(name, section) for name, section in settings.connectors.items()],
            facts=load_facts(policies),
            changed=partial(_catalogue_changed, policy, transactions, news),
        )
        inflight = InFlight(back.store.standing)
        authority = _authority(settings, folder, back, policy)
        consents = _consents(settings, back, policies)
        pipeline = Pipeline(
            identity=authority.identity,
            catalog=catalog,
            guards=guards,
            policy=policy,
            consents=consents,
            delegator=authority.delegator,
            prices=prices,
            journal=back.journal,
            inflight=inflight,
            transactions=transactions,
        )
        tasks.start_soon(news.run)
        tasks.start_soon(inflight.watch, back.store.signals)
        tasks.start_soon(inflight.obey, back.store.signals)
        tasks.start_soon(_publisher(settings, back).run)
        tasks.start_soon(_follow_keys, back.keys.tokens)
        tasks.start_soon(_follow_overrides, back.store, prices)
        tasks.start_soon(_follow_manifests, back)
        tasks.start_soon(_follow_approvals, consents)
        rules = _Rules(policies, policy, guards, prices, catalog, consents)
        tasks.start_soon(rules.follow, back.journal, news)
        endpoint = _endpoint(settings, back, pipeline, catalog)
        tasks.start_soon(endpoint.run)
        async with catalog.running(partial(_open, settings, folder, catalog, news)):
            yield App(
                settings=settings,
                store=back.store,
                keys=back.keys,
                journal=back.journal,
                credentials=back.credentials,
                grants=back.grants,
                operators=back.operators,
                policy=policy,
                catalog=catalog,
                consents=consents,
                pipeline=pipeline,
                asgi=_site(endpoint, catalog, [*authority.oauth, _admin(back, catalog, policy)], settings),
                drain=endpoint.close,
            )
        tasks.cancel_scope.cancel()


class News:
    """Changes noticed in synchronous code, told to every broker process in order."""

    def __init__(self, store: Store) -> None:
        self._signals = store.signals
        self._send, self._receive = anyio.create_memory_object_stream[tuple[str, Json]](1000)

    def tell(self, topic: str, message: Json) -> None:
        """Publish soon. When a thousand are waiting the newest is dropped: a signal is only a hint."""
        try:
            self._send.send_nowait((topic, message))
        except anyio.WouldBlock:
            logger.warning("signals are backing up; one for %s was dropped", topic)

    async def run(self) -> None:
        """Publish what was told, until cancelled."""
        async with self._send, self._receive:
            async for topic, message in self._receive:
                await self._signals.publish(topic, message)


def policies_dir(settings: Settings) -> Path:
    """The operator's policies, else the shipped ones."""
    return settings.policies_dir or shipped_policies()


def _catalogue_changed(
    policy: PolicyEngine,
    transactions: Transactions,
    news: News,
    targets: Sequence[Target],
    kinds: frozenset[Kind],
) -> None:
    policy.retarget(targets)
    transactions.retarget(targets)
    for kind in sorted(kinds):
        news.tell("catalog", {"kind": kind})


def _publisher(settings: Settings, back: Office) -> Publisher:
    path = settings.audit.publish_to
    return Publisher(
        back.store.log, Signer(back.keys.checkpoint), publication=Publication(path) if path else None
    )


def _consents(settings: Settings, back: Office, policies: Path) -> Consents:
    return Consents(
        back.store.approvals,
        back.store.signals,
        sealer=Sealer(back.keys.seal, *back.keys.retired_seals),
        digest_key=back.keys.digest,
        settings=settings.approvals,
        people=read_people(policies),
    )


def _mount(name: str, section: ConnectorSettings) -> Mount:
    prefix = name if section.prefix is None else section.prefix
    agent = None if section.agent is None else AgentId(section.agent)
    upstream = load(section.use)
    return Mount(name, upstream, Names(prefix), section.timeout_s, agent, section.max_concurrent)


async def _open(settings: Settings, folder: Path, catalog: LiveCatalog, news: News, mount: Mount) -> None:
    section = settings.connectors[mount.name]
    try:
        own = mount.upstream.settings.model_validate(section.settings)
    except ValidationError as error:
        raise ConfigurationError(_first_mistake(mount.name, error)) from error
    host = Host(
        name=mount.name,
        state_dir=settings.state_dir / "connectors" / mount.name,
        secret=partial(resolve_secret, environ=os.environ, folder=folder),
        changed=partial(catalog.stale, mount.name),
        updated=lambda uri: news.tell("resource-updated", {"uri": mount.names.exposed_uri(uri)}),
    )
    await mount.upstream.open(own, host)


def _first_mistake(connector: str, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(["connectors", connector, "settings", *map(str, first["loc"])])
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


async def _follow_keys(keys: TokenKeys) -> None:
    """Take changed signing keys into use. While they cannot be read the previous ones stay in use."""
    while True:
        await anyio.sleep(KEYS_LOOK_S)
        try:
            if await keys.refresh():
                logger.info("signing keys changed: tokens are signed with %s", keys.active.kid)
        except (ConfigurationError, StorageUnavailable) as error:
            logger.warning("signing keys not read, the previous ones stay in use: %s", error.message)


async def _follow_approvals(consents: Consents) -> None:
    """End the approvals whose time is over."""
    while True:
        try:
            await consents.lapse()
        except BrokerError as error:
            logger.warning("approvals were not looked at: %s", error.message)
        await anyio.sleep(APPROVALS_LOOK_S)


async def _follow_overrides(store: Store, prices: Prices) -> None:
    """Take into use what operators have overridden. While it cannot be read the previous caps stay."""
    while True:
        try:
            prices.override(await store.ledger.overrides())
        except StorageUnavailable as error:
            logger.warning("overridden caps were not read: %s", error.message)
        await anyio.sleep(OVERRIDES_LOOK_S)


async def _follow_manifests(back: Office) -> None:
    """Lower the level of agents whose manifest has ended."""
    while True:
        try:
            await back.journal.lower_lapsed(back.store.agents)
        except BrokerError as error:
            logger.warning("manifests were not looked at: %s", error.message)
        await anyio.sleep(MANIFEST_LOOK_S)


@dataclass(frozen=True, slots=True)
class _Rules:
    """All that a policies folder decides: roles and rules, findings, budgets and facts of tools."""

    folder: Path
    policy: PolicyEngine
    guards: Screen
    prices: Prices
    catalog: LiveCatalog
    consents: Consents

    async def follow(self, journal: Journal, news: News) -> None:
        """Take changes into use, all of them or, where a file is wrong, none."""
        while True:
            await anyio.sleep(POLICY_LOOK_S)
            if not self.policy.changed():
                continue
            try:
                self._reload()
            except ConfigurationError as error:
                logger.warning("policies not loaded, the previous set stays in force: %s", error.message)
                continue
            await journal.policy_changed(self.policy.version)
            logger.info("policies loaded: %s", self.policy.version)
            news.tell("policy", {"version": self.policy.version})

    def _reload(self) -> None:
        facts, conduct = load_facts(self.folder), load_conduct(self.folder, shipped_policies(), GUARDS)
        budgets, people = load_budgets(self.folder), read_people(self.folder)
        self.policy.reload()
        self.catalog.refacts(facts)
        self.guards.adopt(conduct)
        self.prices.adopt(budgets)
        self.consents.adopt(people)


@dataclass(frozen=True, slots=True)
class _Authority:
    """Who speaks for whom: what authenticates, what hands authority on, and the endpoints that do both."""

    identity: TokenAuthenticator
    delegator: Delegator
    oauth: Sequence[Route]


def _authority(settings: Settings, folder: Path, back: Office, policy: PolicyEngine) -> _Authority:
    store, grants = back.store, back.grants
    chains = Chains(store.agents, store.grants, time.time)
    identity = TokenAuthenticator(settings, back.keys, store.agents, chains)
    tokens = access_tokens(settings, back.keys, time.time)
    delegator = Delegator(Delegations(tokens, store.agents, policy.may_delegate, time.time), grants)
    oauth = oauth_routes(
        settings,
        keys=back.keys,
        agents=store.agents,
        replays=store.replays,
        federation=Federation(settings.federation, folder, settings.issuer, time.time),
        exchange=TokenExchange(settings.resource, identity, delegator),
        log=back.journal,
        identity=identity,
        revoker=Revoker(store.grants, back.credentials, grants),
    )
    return _Authority(identity, delegator, oauth)


def _endpoint(settings: Settings, back: Office, pipeline: Pipeline, catalog: LiveCatalog) -> McpEndpoint:
    sealer = Sealer(back.keys.seal, *back.keys.retired_seals)
    proofs = Proofs(back.store.replays, time.time)
    return McpEndpoint(pipeline, catalog, back.store.signals, sealer, settings, proofs=proofs)


def _admin(back: Office, catalog: LiveCatalog, policy: PolicyEngine) -> BaseRoute:
    return admin_route(
        back.store,
        catalog,
        policy.visible,
        keys=back.keys.tokens,
        journal=back.journal,
        credentials=back.credentials,
        grants=back.grants,
        operators=back.operators,
        sealer=Sealer(back.keys.seal, *back.keys.retired_seals),
    )


def _site(
    endpoint: McpEndpoint, catalog: LiveCatalog, others: Sequence[BaseRoute], settings: Settings
) -> ASGIApp:
    routes = [
        Route("/mcp", endpoint),
        *others,
        Route("/healthz", _healthy),
        Route("/readyz", _readiness(catalog)),
    ]
    site = Starlette(routes=routes)
    return HostGuard(_Front(endpoint, site), settings)  # the guard is outermost: it sees every route


class _Front:
    """Takes the path of every call straight to its endpoint: routing would cost more than admitting it."""

    def __init__(self, mcp: ASGIApp, others: ASGIApp) -> None:
        self._mcp = mcp
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope["type"] == "http" and scope["path"] == "/mcp"
        await (self._mcp if direct else self._others)(scope, receive, send)


async def _healthy(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _readiness(catalog: LiveCatalog) -> Callable[[Request], JSONResponse]:
    def ready(_: Request) -> JSONResponse:
        # A connector that is down makes its own tools fail, not the broker. Why it is down, the log says.
        return JSONResponse(
            {
                "status": "ready",
                "connectors": {m.name: m.state for m in catalog.mounts},
            }
        )

    return ready
