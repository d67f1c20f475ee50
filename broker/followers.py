"""Who keeps a running broker up to date with what is changed beside it?

Operators work in other processes and in files. Each follower watches one thing that they may change, or
that time changes, and takes it into use; while it cannot be read, what was known before stays in force.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from broker.allowances import Allowances
from broker.approvals.people import read_people
from broker.catalog.catalog import LiveCatalog
from broker.catalog.facts import load_facts
from broker.consents import Consents
from broker.definitions import Definitions
from broker.errors import BrokerError, ConfigurationError, StorageUnavailable
from broker.guardrails.conduct import load_conduct
from broker.guardrails.registry import GUARDS
from broker.guardrails.screen import Screen
from broker.identity.token_keys import TokenKeys
from broker.inflight import CHANGED
from broker.ledger.prices import Prices
from broker.ledger.rules import load_budgets
from broker.ledger.tables import load_prices
from broker.model import Json
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies
from broker.policy_records import PolicyRecords
from broker.reputation import Reputation
from broker.signals import Signals
from broker.trust.weights import load_weights

logger = logging.getLogger("broker.followers")

LOOK_S = 1.0
"""How often it is looked at what has changed, in seconds."""

PINS_LOOK_S = 0.5
"""How often it is looked whether a definition was approved, in seconds."""

KEYS_AGAIN_S = 1.0
"""How soon changed signing keys are tried again that could not be read, in seconds."""


async def repeat(what: str, act: Callable[[], Awaitable[object]], every_s: float = LOOK_S) -> None:
    """Do something again and again until cancelled. What fails is logged, and tried again the next time.

    Args:
        what: the subject, for the log.
        act: looks, and takes what it sees into use.
        every_s: the pause in between, in seconds.
    """
    while True:
        try:
            await act()
        except BrokerError as error:
            logger.warning("%s: not looked at: %s", what, error.message)
        await anyio.sleep(every_s)


class News:
    """Changes noticed in synchronous code, told to every broker process in order."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
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


async def follow_keys(keys: TokenKeys, signals: Signals) -> None:
    """Take changed signing keys into use."""
    async with signals.subscribe(CHANGED) as changes:
        await _renew(keys)  # they may have changed since they were read at the start
        async for _ in changes:
            await _renew(keys)


async def _renew(keys: TokenKeys) -> None:
    while True:
        try:
            if await keys.refresh():
                logger.info("signing keys changed: tokens are signed with %s", keys.active.kid)
        except (ConfigurationError, StorageUnavailable) as error:
            logger.warning("signing keys not read, the previous ones stay in use: %s", error.message)
            await anyio.sleep(KEYS_AGAIN_S)
        else:
            return


async def take_exceptions(allowances: Allowances, guards: Screen) -> None:
    """Go by what operators have called no finding, whichever process they do it in.

    Raises:
        StorageUnavailable: they cannot be read.
    """
    guards.except_from(frozenset((one.guard, one.digest) for one in await allowances.all()))


async def follow_pins(definitions: Definitions, catalog: LiveCatalog) -> None:
    """Take what operators approve into use, whichever process they do it in."""
    seen = await definitions.version()

    async def look() -> None:
        nonlocal seen
        if (version := await definitions.version()) != seen:
            await catalog.readmit()
            seen = version

    await repeat("approvals of definitions", look, PINS_LOOK_S)


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a policies folder decides: roles and rules, findings, budgets and facts of tools."""

    folder: Path
    policy: PolicyEngine
    guards: Screen
    prices: Prices
    catalog: LiveCatalog
    consents: Consents
    reputation: Reputation
    records: PolicyRecords

    async def follow(self, news: News) -> None:
        """Take changes into use, all of them or, where a file is wrong, none."""
        while True:
            await anyio.sleep(LOOK_S)
            if not self.policy.changed():
                continue
            try:
                weights = load_weights(self.folder, shipped_policies())
                self._reload()
                await self.reputation.adopt(weights)
            except ConfigurationError as error:
                logger.warning("policies not loaded, the previous set stays in force: %s", error.message)
                continue
            await self.records.in_force(self.policy.version)
            logger.info("policies loaded: %s", self.policy.version)
            news.tell("policy", {"version": self.policy.version})

    def _reload(self) -> None:
        facts, conduct = load_facts(self.folder), load_conduct(self.folder, shipped_policies(), GUARDS)
        budgets, people = load_budgets(self.folder), read_people(self.folder)
        tables = load_prices(self.folder)
        self.policy.reload()
        self.catalog.refacts(facts)
        self.guards.adopt(conduct)
        self.prices.adopt(budgets, tables)
        self.consents.adopt(people)
