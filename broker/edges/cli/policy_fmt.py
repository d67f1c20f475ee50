"""Is a policy file laid out like the others? `broker policy fmt` rewrites those that are not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from broker.edges.cli.composition import configured
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import Policies, folder_of
from broker.errors import ConfigurationError

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE]...", help="Only these files [default: all of the policies]."),
]
Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 if a file would change.")]


def fmt(
    files: Files = None,
    *,
    check: Check = False,
    policies: Policies = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Lay out YAML and Cedar files the same way. Comments stay; what a file says is never changed."""
    from broker.documents import read_text
    from broker.policy.format import formatted

    chosen = files or list(_all(folder_of(policies, configured(config).settings)))
    laid = [(path, read_text(path, str(path))) for path in chosen]
    changed = [(path, new) for path, old in laid if (new := formatted(old, str(path))) != old]
    if not check:
        for path, text in changed:
            _write(path, text)
    names = [str(path) for path, _ in changed]
    said = "would be laid out otherwise" if check else "laid out"
    Output(as_json=as_json).item(
        {"ok": not (check and names), "files": len(laid), "changed": names},
        "\n".join([*(f"{name}: {said}" for name in names), f"{len(names)} of {len(laid)} files {said}"]),
    )
    if check and names:
        raise typer.Exit(1)


def _all(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in {".yaml", ".cedar"} and not hidden and path.is_file():
            yield path


def _write(path: Path, text: str) -> None:
    """The whole file or none of it: a running broker may read it at this moment."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.chmod(path.stat().st_mode)
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
