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
from anyio.abc import TaskGroup
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.allowances import Allowances
from broker.approvals.people import read_people
from broker.audit.checkpoint import Signer
from broker.audit.publication import Publication
from broker.audit.publisher import Publisher
from broker.catalog.catalog import LiveCatalog
from broker.catalog.facts import load_facts
from broker.catalog.installed import load
from broker.catalog.known import CatalogueNote
from broker.catalog.mount import Mount
from broker.catalog.names import Names
from broker.connector import Host
from broker.consents import Consents
from broker.credentials import Credentials
from broker.definitions import Definitions
from broker.edges.admin import admin_route
from broker.edges.admission import Admission
from broker.edges.http import HostGuard
from broker.edges.mcp.endpoint import McpEndpoint
from broker.edges.models.endpoint import PREFIX, ModelEndpoint
from broker.edges.oauth import routes as oauth_routes
from broker.edges.oauth.exchange import TokenExchange
from broker.edges.oauth.revocation import Revoker
from broker.errors import ConfigurationError
from broker.feeding import Feeding, witnesses
from broker.fetching import Fetcher
from broker.flow.transactions import Transactions
from broker.followers import News, Rules, follow_keys, follow_pins, repeat, take_exceptions
from broker.grants import Delegator, Grants
from broker.guardrails.conduct import load_conduct
from broker.guardrails.injection.poisoning import suspicions
from broker.guardrails.registry import GUARDS
from broker.guardrails.screen import Screen
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.chains import Chains
from broker.identity.delegation import Delegations
from broker.identity.dpop import Proofs
from broker.identity.federation import Federation
from broker.identity.keys import Keys, load_keys
from broker.identity.published_keys import PublishedKeys
from broker.identity.seals import Sealer
from broker.inflight import InFlight
from broker.journal import Journal
from broker.ledger.prices import Prices
from broker.ledger.rules import load_budgets
from broker.ledger.tables import load_prices
from broker.model import OWN_CONNECTOR, AgentId, Kind, Target
from broker.operators import Operators
from broker.own_tools import own_tools
from broker.payloads import Payloads
from broker.pipeline import Pipeline
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies
from broker.policy_records import PolicyRecords
from broker.record import Scribe
from broker.references import resolve_secret
from broker.reputation import Reputation
from broker.results import Results
from broker.retention import Retention
from broker.settings import ConnectorSettings, Settings
from broker.storage.sqlite import open_store, read_wrapping_key
from broker.storage.sqlite.backups import removed, restored
from broker.storage.store import Store
from broker.trust.replay import Update
from broker.trust.weights import load_weights

logger = logging.getLogger("broker.app")

HEARTBEAT_S = 300
"""How often the log shows that the broker runs, in seconds."""

WITNESS_LOOK_S = 10.0
"""How often it is looked whether witnesses have a checkpoint to sign, in seconds."""

TRUST_LOOK_S = 0.5
"""How often the log is read for what speaks for and against agents, in seconds."""

RETENTION_LOOK_S = 3600.0
"""How often it is looked whether anything has had its time, in seconds."""


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
    definitions: Definitions
    allowances: Allowances
    payloads: Payloads


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
    definitions: Definitions
    allowances: Allowances
    payloads: Payloads
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
    async with open_store(
        database,
        deployment=settings.deployment,
        serve=serve,
        payload_key=_payload_key(settings),
        keep_payloads=settings.audit.payloads == "keep",
    ) as store:
        keys = await load_keys(store.keys, time.time)
        journal = Journal(store.journal, keys.digest, room=settings.results.agent_bytes)
        yield Office(
            settings,
            store,
            keys,
            journal,
            credentials=Credentials(store.credentials),
            grants=Grants(store.grants),
            operators=Operators(store.operators, Scribe(keys.digest).digest),
            definitions=Definitions(store.pins, settings.connectors, suspicions),
            allowances=Allowances(store.allowances),
            payloads=Payloads(store.payloads),
        )


def restore(settings: Settings, backup: Path, keys: Path | None) -> None:
    """Put a backup where no state is.

    Raises:
        ConfigurationError: there is one already, or a file cannot be read or written.
    """
    restored(backup, keys, settings.state_dir / "broker.db")


def take_away(settings: Settings) -> None:
    """Remove what was restored and does not verify."""
    removed(settings.state_dir / "broker.db")


def _payload_key(settings: Settings) -> bytes | None:
    """The key that the settings refer to; None: the one in the state."""
    reference = settings.audit.payload_key
    if reference is None:
        return None
    return read_wrapping_key(
        resolve_secret(reference, environ=os.environ, folder=Path()), "audit.payload_key"
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
        prices = Prices(
            load_budgets(policies),
            tables=load_prices(policies),
            ledger=back.store.ledger,
            digest=Scribe(back.keys.digest).digest,
        )
        conduct = load_conduct(policies, shipped_policies(), GUARDS)
        guards = Screen(settings.limits, conduct, back.keys.digest, back.store.payloads.handle)
        records = PolicyRecords(back.store.log, back.journal, policies)
        await records.in_force(policy.version)
        news, note = News(back.store.signals), CatalogueNote(settings.state_dir)
        transactions = Transactions(back.store.flow, back.keys.digest)
        catalog = LiveCatalog(
            [_mount(name, section, back.store) for name, section in settings.connectors.items()],
            facts=load_facts(policies),
            approvals=back.definitions,
            changed=partial(_catalogue_changed, (policy.retarget, transactions.retarget), note, news),
        )
        inflight = InFlight(back.store.standing)
        authority = _authority(settings, folder, back, policy)
        consents = _consents(settings, back, policies)
        weights = load_weights(policies, shipped_policies())
        reputation = Reputation(back.store.log, back.journal, weights, partial(_trust_changed, news))
        await reputation.look()  # nobody is served before it is known how far they are trusted
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
            pseudonyms=back.store.pseudonyms,
            results=_results(settings, back),
            reputation=reputation,
        )
        await take_exceptions(back.allowances, guards)
        tasks.start_soon(news.run)
        tasks.start_soon(note.follow, catalog.mounts)
        tasks.start_soon(inflight.watch, back.store.signals)
        tasks.start_soon(inflight.obey, back.store.signals)
        tasks.start_soon(_publisher(settings, back).run)
        for name, witness in witnesses(settings.audit.witnesses, back.store.log).items():
            tasks.start_soon(repeat, f"witness `{name}`", witness.look, WITNESS_LOOK_S)
        feeding = _feeding(settings, folder, back)
        tasks.start_soon(feeding.run)
        readiness = _readiness(catalog, feeding)
        retention = Retention(back.store.pruning, settings.audit, time.time)
        tasks.start_soon(repeat, "retention", retention.prune, RETENTION_LOOK_S)
        _follow(tasks, back, prices=prices, consents=consents, guards=guards, catalog=catalog)
        rules = Rules(policies, policy, guards, prices, catalog, consents, reputation, records)
        tasks.start_soon(repeat, "trust", reputation.look, TRUST_LOOK_S)
        tasks.start_soon(rules.follow, news)
        admission = Admission(authority.identity, Proofs(back.store.replays, time.time), settings)
        endpoint = _endpoint(settings, back, pipeline, catalog, admission)
        models = ModelEndpoint(pipeline, admission, settings)
        tasks.start_soon(endpoint.run)
        admin = _admin(back, catalog, policy, consents)
        async with catalog.running(partial(_open, settings, folder, catalog, news)):
            yield App(
                settings=settings,
                store=back.store,
                keys=back.keys,
                journal=back.journal,
                credentials=back.credentials,
                grants=back.grants,
                operators=back.operators,
                definitions=back.definitions,
                allowances=back.allowances,
                payloads=back.payloads,
                policy=policy,
                catalog=catalog,
                consents=consents,
                pipeline=pipeline,
                asgi=_site(endpoint, models, [*authority.oauth, admin, readiness], settings),
                drain=endpoint.close,
            )
        tasks.cancel_scope.cancel()


def _follow(
    tasks: TaskGroup,
    back: Office,
    *,
    prices: Prices,
    consents: Consents,
    guards: Screen,
    catalog: LiveCatalog,
) -> None:
    """Take what is changed in other processes into use."""
    store = back.store

    async def overrides() -> None:
        prices.override(await store.ledger.overrides())

    tasks.start_soon(follow_keys, back.keys.tokens, store.signals)
    tasks.start_soon(follow_pins, back.definitions, catalog)
    tasks.start_soon(repeat, "overridden caps", overrides)
    tasks.start_soon(repeat, "exceptions of guards", partial(take_exceptions, back.allowances, guards))
    tasks.start_soon(repeat, "manifests", partial(back.journal.lower_lapsed, store.agents))
    tasks.start_soon(repeat, "approvals", consents.lapse)
    tasks.start_soon(repeat, "heartbeat", partial(back.journal.heartbeat, HEARTBEAT_S), HEARTBEAT_S)
    tasks.start_soon(repeat, "past windows of budgets", back.journal.forget_windows, 3600)


def policies_dir(settings: Settings) -> Path:
    """The operator's policies, else the shipped ones."""
    return settings.policies_dir or shipped_policies()


def _catalogue_changed(
    followers: Sequence[Callable[[Sequence[Target]], None]],
    note: CatalogueNote,
    news: News,
    targets: Sequence[Target],
    kinds: frozenset[Kind],
) -> None:
    for retarget in followers:
        retarget(targets)
    note.stale()
    for kind in sorted(kinds):
        news.tell("catalog", {"kind": kind})


def _trust_changed(news: News, update: Update) -> None:
    news.tell("trust", {"agent": update.agent, "band": update.band})


def _publisher(settings: Settings, back: Office) -> Publisher:
    path = settings.audit.publish_to

    async def renew() -> Signer:
        await back.keys.log.refresh()
        return Signer(back.keys.checkpoint)

    return Publisher(
        back.store.log,
        Signer(back.keys.checkpoint),
        publication=Publication(path) if path else None,
        renew=renew,
    )


def _feeding(settings: Settings, folder: Path, back: Office) -> Feeding:
    secret = partial(resolve_secret, environ=os.environ, folder=folder)
    return Feeding(
        settings.audit.feeds, log=back.store.log, store=back.store.feeds, folder=folder, secret=secret
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


def _mount(name: str, section: ConnectorSettings, store: Store) -> Mount:
    prefix = name if section.prefix is None else section.prefix
    agent = None if section.agent is None else AgentId(section.agent)
    upstream = own_tools(store.journal) if section.use == OWN_CONNECTOR else load(section.use)
    return Mount(
        name,
        upstream,
        Names(prefix),
        section.timeout_s,
        agent,
        section.max_concurrent,
        section.pin == "approve",
    )


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
    published = PublishedKeys(Fetcher(), time.time)
    oauth = oauth_routes(
        settings,
        keys=back.keys,
        agents=store.agents,
        replays=store.replays,
        federation=Federation(settings.federation, folder, settings.issuer, time.time, published=published),
        published=published,
        exchange=TokenExchange(settings.resource, identity, delegator),
        log=back.journal,
        identity=identity,
        revoker=Revoker(store.grants, back.credentials, grants),
    )
    return _Authority(identity, delegator, oauth)


def _results(settings: Settings, back: Office) -> Results:
    sealer = Sealer(back.keys.seal, *back.keys.retired_seals)
    first = back.store.first_calls
    return Results(first, sealer=sealer, digest_key=back.keys.digest, settings=settings.results)


def _endpoint(
    settings: Settings, back: Office, pipeline: Pipeline, catalog: LiveCatalog, admission: Admission
) -> McpEndpoint:
    sealer = Sealer(back.keys.seal, *back.keys.retired_seals)
    return McpEndpoint(pipeline, catalog, back.store.signals, sealer, settings, admission=admission)


def _admin(back: Office, catalog: LiveCatalog, policy: PolicyEngine, consents: Consents) -> BaseRoute:
    return admin_route(
        back.store,
        catalog,
        policy.visible,
        keys=back.keys.tokens,
        journal=back.journal,
        credentials=back.credentials,
        grants=back.grants,
        consents=consents,
        operators=back.operators,
        payloads=back.payloads,
        sealer=Sealer(back.keys.seal, *back.keys.retired_seals),
    )


def _site(
    endpoint: McpEndpoint,
    models: ModelEndpoint,
    others: Sequence[BaseRoute],
    settings: Settings,
) -> ASGIApp:
    routes = [
        Route("/mcp", endpoint),
        *others,
        Route("/healthz", _healthy),
    ]
    site = Starlette(routes=routes)
    return HostGuard(_Front(endpoint, models, site), settings)  # the guard is outermost: it sees every route


class _Front:
    """Takes the path of every call straight to its endpoint: routing would cost more than admitting it."""

    def __init__(self, mcp: ASGIApp, models: ASGIApp, others: ASGIApp) -> None:
        self._mcp = mcp
        self._models = models
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/mcp":
            await self._mcp(scope, receive, send)
        elif path.startswith(PREFIX):
            await self._models(scope, receive, send)
        else:
            await self._others(scope, receive, send)


async def _healthy(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _readiness(catalog: LiveCatalog, feeding: Feeding) -> Route:
    def ready(_: Request) -> JSONResponse:
        # A connector that is down makes its own tools fail, not the broker. Why it is down, the log says.
        return JSONResponse(
            {
                "status": "ready",
                "connectors": {m.name: m.state for m in catalog.mounts},
                "feeds": feeding.standing,
            }
        )

    return Route("/readyz", ready)
