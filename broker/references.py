"""What does a reference to a secret stand for? Configuration never holds a secret, only where it is.

env:NAME     the value of an environment variable
file:PATH    the content of a file, without the newline at its end
"""

from collections.abc import Mapping
from pathlib import Path

from broker.errors import ConfigurationError

_FORMS = "write `env:NAME` or `file:PATH`"


def resolve_secret(reference: str, *, environ: Mapping[str, str], folder: Path) -> str:
    """The secret behind a reference.

    Args:
        reference: `env:NAME` or `file:PATH`.
        environ: the environment to look in.
        folder: what a relative path starts from (the folder of `broker.toml`).

    Raises:
        ConfigurationError: not a reference, or nothing is there. Never repeats what might be a secret.
    """
    scheme, colon, rest = reference.partition(":")
    match scheme if colon and rest else None:
        case "env":
            return _from_environment(rest, environ)
        case "file":
            return _from_file(folder / Path(rest).expanduser())
        case _:
            raise ConfigurationError(
                "a secret is written here as itself, where only a reference to it may stand",
                hint=f"{_FORMS}; if the file was shared, replace the secret",
            )


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    secret = environ.get(name, "")
    if not secret:
        raise ConfigurationError(f"the environment variable `{name}` is not set", hint=f"export {name}=…")
    return secret


def _from_file(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigurationError(
            f"cannot read the secret in `{path}`: {why}", hint="the broker's user must be able to read it"
        ) from error
    if not secret:
        raise ConfigurationError(f"the secret file `{path}` is empty", hint="write the secret into it")
    return secret
