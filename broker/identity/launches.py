"""What is it that the broker starts? A launch of an agent: its code as measured, and a secret of its own."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import orjson

from broker.errors import InvalidRequest
from broker.identity.clients import digest, new_secret
from broker.identity.interface import Secret
from broker.model import Manifest

LONGEST_S = 7 * 86_400
"""Longest launch, in seconds: whatever runs longer is measured anew."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: the secret that its process is handed, and what is stored of it."""

    secret: str = field(repr=False)
    stored: Secret
    instance: str


def new_launch(now: int, lasting_s: int) -> Launch:
    """A launch that ends by itself.

    Args:
        now: Unix seconds.
        lasting_s: after how many seconds.

    Raises:
        InvalidRequest: that is no time at all, or longer than a launch may last.
    """
    if not 0 < lasting_s <= LONGEST_S:
        raise InvalidRequest(
            "a launch lasts at least a second and at most seven days", hint="write e.g. --for 1h"
        )
    secret, instance = new_secret(), secrets.token_hex(8)
    return Launch(secret, Secret(digest(secret), now, now + lasting_s, instance), instance)


def code_digest(paths: Sequence[Path]) -> str:
    """What `code_sha256` of a manifest is held against when the broker launches an agent.

    The SHA-256, in hex, of the canonical JSON of `[[name, sha256], …]`: of each file in the order given, of
    each folder all files below it, by name. A link counts as where it points to and what is there.

    Raises:
        InvalidRequest: something cannot be read.
    """
    try:
        return sha256(orjson.dumps([one for path in paths for one in _measured(path)])).hexdigest()
    except OSError as error:
        raise InvalidRequest(f"`{error.filename}` cannot be measured: {error.strerror}") from error


def code_drift(manifest: Manifest | None, code_sha256: str) -> str:
    """In what measured code contradicts a manifest; empty where it does not, or there is none."""
    if manifest is None or manifest.code_sha256 == code_sha256:
        return ""
    return f"it was launched with code `{code_sha256}`, its manifest says `{manifest.code_sha256}`"


def _measured(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_dir():
        yield path.name, _hash(path)
        return
    for one in sorted(path.rglob("*")):
        name = one.relative_to(path).as_posix()
        if one.is_symlink():
            yield f"{name} ->", sha256(str(one.readlink()).encode()).hexdigest()
        if one.is_file():
            yield name, _hash(one)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        whole = sha256()
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    return whole.hexdigest()
