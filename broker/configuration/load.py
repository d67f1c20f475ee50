"""Which settings are in force, and where does each come from?

Default, then `broker.toml`, then the environment, then the command line: the later wins. A mistake is
an error that names file and line, never a default that nobody meant.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from broker.configuration.exposure import check_exposure
from broker.configuration.mistakes import explained, section_of
from broker.configuration.places import Key, leaves, parse
from broker.errors import ConfigurationError
from broker.settings import Settings

FILE_NAME = "broker.toml"
PREFIX = "BROKER_"
RESERVED = frozenset(
    {
        "BROKER_CONFIG",
        "BROKER_URL",
        "BROKER_CLIENT_ID",
        "BROKER_CLIENT_SECRET",
        "BROKER_CLIENT_SECRET_FILE",
        "BROKER_CLIENT_KEY_FILE",
        "BROKER_CLIENT_ASSERTION_FILE",
    }
)
"""Variables of the command line; they name no setting."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force; `origins` says for each where it comes from, all others are defaults.

    `folder` is what relative paths of the configuration start from.
    """

    settings: Settings
    file: Path | None
    folder: Path
    origins: Mapping[Key, str]

    def origin(self, key: Key) -> str:
        """`default`, `broker.toml:12`, `env BROKER_SERVER__PORT` or `command line`."""
        whole_or_part = (self.origins.get(key[:length]) for length in range(len(key), 0, -1))
        return next(filter(None, whole_or_part), "default")

    def effective(self) -> Iterator[tuple[Key, object, str]]:
        """Every setting with its value and its origin, in the order of the model."""
        for key, value in leaves(self.settings.model_dump(mode="json")):
            yield key, value, self.origin(key)


def load_settings(path: Path | None, environ: Mapping[str, str], overrides: Mapping[Key, object]) -> Loaded:
    """Read the configuration.

    Args:
        path: the file that `--config` names; else `BROKER_CONFIG`, else `./broker.toml`, else none.
        environ: the environment; `BROKER_SERVER__PORT=9000` sets `server.port`.
        overrides: options of the command line, by key.

    Raises:
        ConfigurationError: `broker.toml:12: …`, with a hint.
    """
    file = _find(path, environ)
    folder = file.parent if file else Path.cwd()
    name = file.name if file else FILE_NAME
    document = parse(_read(file) if file else "", name)
    values, origins = document.values, dict(document.places)
    _anchor(values, folder)
    for key, value, origin in [
        *_environment(environ),
        *((k, v, "command line") for k, v in overrides.items()),
    ]:
        _put(values, key, value, origin)
        origins[key] = origin
    values.setdefault("state_dir", folder / Settings().state_dir)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise explained(error, {**document.headers, **origins}, name) from error
    loaded = Loaded(settings, file, folder, origins)
    check_exposure(
        settings.server, loaded.origin(("server", "host")), loaded.origin(("server", "public_url"))
    )
    return loaded


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or (Path(environ["BROKER_CONFIG"]) if environ.get("BROKER_CONFIG") else None)
    if named is not None:
        return named.absolute()
    here = Path.cwd() / FILE_NAME
    return here if here.exists() else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"cannot read `{file}`: {why}", hint="`broker init` writes a new one"
        ) from error


_PAYLOAD_KEY: Key = ("audit", "payload_key")


def _anchor(values: dict[str, Any], folder: Path) -> None:
    """Relative paths in a file start from its folder, not from wherever the broker was started."""
    given = dict(leaves(values))
    for key in _path_keys(Settings):
        if isinstance(text := given.get(key), str):
            _put(values, key, str(folder / Path(text).expanduser()), FILE_NAME)
    scheme, _, path = str(given.get(_PAYLOAD_KEY, "")).partition(":")
    if scheme == "file" and path:
        _put(values, _PAYLOAD_KEY, f"file:{folder / Path(path).expanduser()}", FILE_NAME)


def _path_keys(model: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        annotation: object = info.annotation
        if annotation is Path or Path in get_args(annotation):
            yield (*above, name)
        elif section := section_of(annotation):
            yield from _path_keys(section, (*above, name))


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[Key, object, str]]:
    """The settings that the environment names, with value and origin.

    A variable without `__` that is no setting belongs to somebody else (Kubernetes sets such ones for
    a service called `broker`), unless it looks like a typing error.
    """
    single = [name for name, info in Settings.model_fields.items() if not _is_table(info.annotation)]
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        name, *parts = variable.removeprefix(PREFIX).lower().split("__")
        if parts or name in single:
            yield (name, *parts), _value(variable, text), f"env {variable}"
        elif near := difflib.get_close_matches(name, single, 1, 0.75):
            raise ConfigurationError(
                f"env {variable}: unknown setting", hint=f"did you mean `{PREFIX}{near[0].upper()}`?"
            )


def _is_table(annotation: object) -> bool:
    return section_of(annotation) is not None or get_origin(annotation) is dict


def _value(variable: str, text: str) -> object:
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f"env {variable}: not JSON, though it starts like it", hint='a list is written `["a", "b"]`'
        ) from error


def _put(values: dict[str, Any], key: Key, value: object, origin: str) -> None:
    section = values
    for name in key[:-1]:
        inner = section.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{origin}: `{name}` has no parts", hint="see `broker config show`")
        section = cast("dict[str, Any]", inner)
    section[key[-1]] = value
