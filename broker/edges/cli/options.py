"""Which options do many verbs share?"""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file [default: BROKER_CONFIG, else ./broker.toml]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
As = Annotated[str, typer.Option("--as", metavar="AGENT", help="The agent to act as.")]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="BROKER_URL", help="Where the broker is, e.g. http://127.0.0.1:8321"),
]
ClientId = Annotated[
    str | None, typer.Option("--client-id", envvar="BROKER_CLIENT_ID", help="The agent's client id.")
]
SecretFile = Annotated[
    str | None,
    typer.Option(
        "--secret-file",
        metavar="PATH",
        help="File with the client secret, - for standard input [default: BROKER_CLIENT_SECRET].",
    ),
]
