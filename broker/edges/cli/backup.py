"""How is the state kept elsewhere? `broker backup` copies it while the broker runs."""

from pathlib import Path
from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

app = noun("Copy the state while the broker runs.", single=True)

IntoFile = Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the state.")]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="A new file for the keys of payloads and people. Keep it no longer than payloads are kept.",
    ),
]


@app.command()
def backup(
    ctx: typer.Context, file: IntoFile, keys: KeysFile = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Copy the state as of now to a new file, and with --keys the keys of payloads to another."""

    async def copy(office: Office) -> None:
        await office.store.backups.back_up(file, keys)

    on_the_state(ctx, configured(config).settings, copy)
    output = Output(as_json=as_json)
    output.item(
        {"state": str(file), "keys": None if keys is None else str(keys)},
        f"the state is in {file}" + (f", the keys are in {keys}" if keys else ""),
    )
    output.note("the key that wraps those of payloads is in neither file: keep payload.key apart")
