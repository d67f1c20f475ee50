"""How does an entry get into a host's own file? Merged, never overwritten, with the old file kept."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from broker.errors import ConfigurationError
from broker.model import Json


def merged(path: Path, addition: Json) -> str | None:
    """The file's text with `addition` in it; None if it is there already.

    Raises:
        ConfigurationError: the file is not what the host would read, so nothing may be rewritten.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    return _toml(path, old, addition) if path.suffix == ".toml" else _json(path, old, addition)


def replace(path: Path, text: str) -> Path | None:
    """Put a new text into a file at once; says where the old file is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    kept = path.with_name(f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}.bak") if path.exists() else None
    if kept:
        kept.write_bytes(path.read_bytes())
        kept.chmod(mode)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(mode)
    Path(name).replace(path)
    return kept


def _json(path: Path, old: str, addition: Json) -> str | None:
    try:
        document: object = json.loads(old) if old.strip() else {}
    except ValueError as error:
        raise ConfigurationError(
            f"`{path}` is not plain JSON (it may hold comments), so it is not rewritten: {error}",
            hint="put in by hand what `broker host print` shows",
        ) from error
    if not isinstance(document, dict):
        raise _unexpected(path)
    changed = _put(path, cast("Json", document), addition)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n" if changed else None


def _put(path: Path, document: Json, addition: Json) -> bool:
    """Add what is missing or different; lists of objects by `id`. Says whether anything changed."""
    changed = False
    for key, value in addition.items():
        if isinstance(value, list):
            present: object = document.setdefault(key, [])
            if not isinstance(present, list):
                raise _unexpected(path)
            missing = [item for item in cast("list[Json]", value) if item not in present]
            cast("list[Json]", present).extend(missing)
            changed |= bool(missing)
            continue
        section: object = document.setdefault(key, {})
        if not isinstance(section, dict):
            raise _unexpected(path)
        for name, entry in cast("Json", value).items():
            if cast("Json", section).get(name) != entry:
                section[name] = entry
                changed = True
    return changed


def _toml(path: Path, old: str, addition: Json) -> str | None:
    try:
        document = tomlkit.parse(old)
    except TOMLKitError as error:
        raise ConfigurationError(
            f"`{path}` is not TOML, so it is not rewritten: {error}", hint="mend it, then run this again"
        ) from error
    if not _put(path, cast("Json", document), addition):
        return None
    return tomlkit.dumps(document)


def toml_text(document: Json) -> str:
    """A document as TOML, for printing."""
    return tomlkit.dumps(document)


def _unexpected(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"`{path}` does not look like the host's file, so it is not rewritten",
        hint="put in by hand what `broker host print` shows",
    )
