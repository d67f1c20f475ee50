"""What do the verbs about the log share? Which logs are meant, who signs, what was kept elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import Office
from broker.errors import ConfigurationError, UnknownTarget

if TYPE_CHECKING:
    from broker.audit.checkpoint import Signer
    from broker.audit.interface import LogHead

VERIFICATION_FAILED = 6

OneLog = Annotated[str | None, typer.Option("--log", metavar="NAME", help="Only this log [default: all].")]


async def chosen_heads(office: Office, name: str | None) -> "list[LogHead]":
    """All logs, or the one that was named.

    Raises:
        UnknownTarget: there is none of that name.
    """
    heads = await office.store.log.logs()
    chosen = [head for head in heads if name in (None, head.name)]
    if name is not None and not chosen:
        known = ", ".join(f"`{head.name}`" for head in heads) or "none yet"
        raise UnknownTarget(f"there is no log `{name}`", hint=f"the logs are: {known}")
    return chosen


def signer_of(office: Office) -> "Signer":
    """The deployment's key for checkpoints."""
    from broker.audit.checkpoint import Signer

    return Signer(office.keys.checkpoint)


def kept_notes(path: Path) -> list[str]:
    """The signed notes in a file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from broker.audit.checkpoint import notes_in

    try:
        return notes_in(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read `{path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"`{path}` is not a text") from error
