"""Which connectors are installed? Entry points, loaded by name. Installed is not enabled."""

import difflib
from importlib.metadata import entry_points
from typing import cast

from broker.connector import Upstream
from broker.errors import ConfigurationError
from broker.model import OWN_CONNECTOR

GROUP = "mcp_tool_broker.connectors"


def installed() -> list[str]:
    """The names that `use = "…"` may take."""
    return sorted({OWN_CONNECTOR, *(point.name for point in entry_points(group=GROUP))})


def load(name: str) -> Upstream:
    """A connector by the name of its entry point: an instance, or a class that is instantiated.

    Raises:
        ConfigurationError: there is none of that name, or it cannot be imported.
    """
    points = entry_points(group=GROUP, name=name)
    if not points:
        near = difflib.get_close_matches(name, installed(), n=1)
        raise ConfigurationError(
            f"there is no installed connector `{name}`",
            hint=f"did you mean `{near[0]}`?" if near else f"installed: {', '.join(installed())}",
        )
    try:
        found = next(iter(points)).load()
    except ImportError as error:
        raise ConfigurationError(f"connector `{name}` cannot be imported: {error}") from error
    return cast("Upstream", found() if isinstance(found, type) else found)
