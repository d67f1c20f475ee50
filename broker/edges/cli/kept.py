"""What do the verbs about the log share? Which logs are meant, who signs, what was kept elsewhere."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import Office
from broker.errors import ConfigurationError, UnknownTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from broker.audit.checkpoint import PastKey, Signer
    from broker.audit.export import Progress
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


@contextmanager
def new_file(path: Path) -> "Generator[Callable[[bytes], int]]":
    """A file that was not there, readable by its owner alone.

    Raises:
        ConfigurationError: it is there already, or cannot be made.
    """
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            yield file.write
    except FileExistsError as error:
        raise ConfigurationError(f"`{path}` is there already", hint="name a file that is new") from error
    except OSError as error:
        raise ConfigurationError(f"cannot write `{path}`: {error.strerror}") from error


def signer_of(office: Office) -> "Signer":
    """The deployment's key for checkpoints."""
    from broker.audit.checkpoint import Signer

    return Signer(office.keys.checkpoint)


def past_keys(office: Office) -> "list[PastKey]":
    """The keys that signed checkpoints before the present one."""
    from broker.audit.checkpoint import PastKey

    past = office.keys.log.all[1:]
    return [PastKey(key.public, key.created_at, key.until or key.created_at) for key in past]


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


@contextmanager
def progress() -> "Generator[Progress]":
    """Shows how far it is on a terminal; nothing elsewhere."""
    wanted, shown = sys.stderr.isatty(), False

    def told(name: str, done: int, of: int) -> None:
        nonlocal shown
        if wanted:
            shown = True
            print(f"\r\x1b[K{name}: {done:,} of {of:,} records", end="", file=sys.stderr, flush=True)

    yield told
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
