"""Which policies are meant, and what is known of what they speak about, without a running server?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import policies_of
from broker.errors import ConfigurationError
from broker.model import Json, Kind, Target

if TYPE_CHECKING:
    from broker.policy.cases import TargetOf
    from broker.policy.engine import PolicyEngine
    from broker.settings import Settings

Policies = Annotated[
    Path | None,
    typer.Option("--policies", metavar="DIR", help="Another policies folder than the one in force."),
]


@dataclass(frozen=True, slots=True)
class Known:
    """What was offered when a broker last ran here. `noted_at` is Unix time in seconds; None: never."""

    noted_at: int | None
    targets: Sequence[Target]
    by_name: Mapping[tuple[Kind, str], Target]

    @property
    def said(self) -> str:
        """Which catalogue this is, for people."""
        if self.noted_at is None:
            return "none: no broker has run on this state, so names of tools are not checked"
        when = datetime.fromtimestamp(self.noted_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{len(self.targets)} targets, as a broker last saw them ({when})"

    def as_json(self) -> Json | None:
        """The same as data."""
        return None if self.noted_at is None else {"noted_at": self.noted_at, "targets": len(self.targets)}


def folder_of(policies: Path | None, settings: "Settings") -> Path:
    """The folder that was named, else the one in force.

    Raises:
        ConfigurationError: there is none of that name.
    """
    folder = policies or policies_of(settings)
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder `{folder}`", hint="--policies names a policies folder")
    return folder.absolute() if policies else folder


def known_targets(settings: "Settings", folder: Path) -> Known:
    """The last known catalogue, with the facts of a policies folder laid over it.

    Raises:
        ConfigurationError: the note of it, or a file with facts, cannot be read.
    """
    from broker.catalog.facts import load_facts
    from broker.catalog.known import known_catalogue

    catalogue = known_catalogue(settings.state_dir)
    if catalogue is None:
        return Known(None, (), {})
    targets = catalogue.targets(load_facts(folder))
    return Known(catalogue.noted_at, targets, {(t.kind, t.name): t for t in targets})


def target_of(known: Known, folder: Path) -> "TargetOf":
    """Finds targets by name: those of the catalogue, else one that somebody might offer."""
    from broker.catalog.facts import load_facts
    from broker.catalog.known import supposed

    facts = load_facts(folder)

    def find(kind: Kind, name: str) -> Target:
        return known.by_name.get((kind, name)) or supposed(kind, name, facts)

    return find


def loaded_policies(folder: Path) -> "PolicyEngine":
    """Every part of a policies folder, read as the server reads it: roles, rules, facts and guards.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    from broker.catalog.facts import load_facts
    from broker.guardrails.conduct import load_conduct
    from broker.guardrails.registry import GUARDS
    from broker.policy.engine import PolicyEngine
    from broker.policy.load import shipped_policies

    engine = PolicyEngine(folder)
    load_facts(folder)
    load_conduct(folder, shipped_policies(), GUARDS)
    return engine
