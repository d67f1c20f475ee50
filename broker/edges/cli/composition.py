"""What do verbs get from the composition root? They are handed a broker; they do not build one."""

import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    import typer
    from starlette.types import ASGIApp

    from broker.allowances import Allowances
    from broker.audit.feeds.following import FeedStore
    from broker.audit.interface import Log
    from broker.audit.payloads import PayloadStore
    from broker.backups import BackupStore
    from broker.catalog.catalog import LiveCatalog
    from broker.configuration.load import Loaded
    from broker.configuration.places import Key
    from broker.consents import ApprovalKeeper
    from broker.credentials import Credentials
    from broker.definitions import Definitions
    from broker.flow.interface import FlowStore
    from broker.grants import GrantKeeper, Grants
    from broker.identity.interface import AgentStore
    from broker.identity.keys import Keys
    from broker.identity.operators import OperatorStore
    from broker.journal import Journal
    from broker.ledger.interface import LedgerReader
    from broker.operators import Operators
    from broker.payloads import Payloads
    from broker.settings import Settings
    from broker.signals import Signals

T = TypeVar("T")


class Store(Protocol):
    """The parts of the state that verbs read."""

    @property
    def agents(self) -> "AgentStore":
        """The agents."""
        ...

    @property
    def grants(self) -> "GrantKeeper":
        """Delegations."""
        ...

    @property
    def operators(self) -> "OperatorStore":
        """The operators."""
        ...

    @property
    def feeds(self) -> "FeedStore":
        """How far continuous exports were delivered."""
        ...

    @property
    def log(self) -> "Log":
        """The logs."""
        ...

    @property
    def backups(self) -> "BackupStore":
        """Copies it."""
        ...

    @property
    def payloads(self) -> "PayloadStore":
        """What was said in calls."""
        ...

    @property
    def ledger(self) -> "LedgerReader":
        """What is spent and held."""
        ...

    @property
    def flow(self) -> "FlowStore":
        """What transactions have read and done."""
        ...

    @property
    def approvals(self) -> "ApprovalKeeper":
        """What humans are asked."""
        ...

    @property
    def signals(self) -> "Signals":
        """How other processes hear of it."""
        ...


class Office(Protocol):
    """The state, open beside whichever server uses it."""

    @property
    def store(self) -> Store:
        """What is kept."""
        ...

    @property
    def keys(self) -> "Keys":
        """The broker's own keys."""
        ...

    @property
    def journal(self) -> "Journal":
        """Where changes are recorded."""
        ...

    @property
    def credentials(self) -> "Credentials":
        """Changes secrets, keys and tokens."""
        ...

    @property
    def grants(self) -> "Grants":
        """Revokes delegations."""
        ...

    @property
    def operators(self) -> "Operators":
        """Adds and revokes operators."""
        ...

    @property
    def definitions(self) -> "Definitions":
        """Which definitions of tools are approved."""
        ...

    @property
    def allowances(self) -> "Allowances":
        """Which findings of guards are none."""
        ...

    @property
    def payloads(self) -> "Payloads":
        """What was said in calls, and about whom."""
        ...


class App(Office, Protocol):
    """A broker that is ready to serve."""

    @property
    def drain(self) -> Callable[[], None]:
        """Ends all open streams in good order."""
        ...

    @property
    def asgi(self) -> "ASGIApp":
        """Its web application."""
        ...

    @property
    def catalog(self) -> "LiveCatalog":
        """What its connectors offer."""
        ...


class Composition(Protocol):
    """The composition root, as verbs see it."""

    def office(self, settings: "Settings") -> AbstractAsyncContextManager[Office]:
        """Open the state of a deployment."""
        ...

    def running(self, settings: "Settings", folder: Path) -> AbstractAsyncContextManager[App]:
        """Build a broker; relative paths of secrets start from `folder`."""
        ...

    def restore(self, settings: "Settings", backup: Path, keys: Path | None) -> None:
        """Put a backup where no state is."""
        ...

    def take_away(self, settings: "Settings") -> None:
        """Remove what was restored and does not verify."""
        ...


def composition(ctx: "typer.Context") -> Composition:
    """What `broker/__main__.py` handed over."""
    return ctx.find_root().obj


def configured(config: Path | None, overrides: "Mapping[Key, object] | None" = None) -> "Loaded":
    """The configuration in force for a verb.

    Raises:
        ConfigurationError: with file and line.
    """
    from broker.configuration.load import load_settings

    return load_settings(config, os.environ, overrides or {})


def policies_of(settings: "Settings") -> Path:
    """The folder whose policies are in force."""
    from broker.policy.load import shipped_policies

    return settings.policies_dir or shipped_policies()


def run(verb: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the asynchronous part of a verb. Ctrl-C ends it with exit code 130."""
    import anyio

    try:
        return anyio.run(verb, backend_options={"use_uvloop": os.name == "posix"})
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def on_the_state(
    ctx: "typer.Context",
    settings: "Settings",
    work: Callable[[Office], Coroutine[Any, Any, T]],
    *,
    create: bool = False,
) -> T:
    """Do something with the state of a deployment; `create` where there may be none yet.

    Raises:
        ConfigurationError: there is no state.
    """
    if not create and not settings.state_dir.is_dir():
        raise ConfigurationError(
            f"there is no broker state in `{settings.state_dir}`",
            hint="`broker agent add` and `broker serve` make it; --config names another deployment",
        )

    async def opened() -> T:
        async with composition(ctx).office(settings) as office:
            return await work(office)

    return run(opened)
