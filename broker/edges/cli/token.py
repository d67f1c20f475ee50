"""How does a script or a host get a token? `broker token`, from the broker's own token endpoint."""

import json
import os
from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import run
from broker.edges.cli.options import AsJson, ClientId, SecretFile, Url
from broker.edges.cli.output import Output

app = noun("Get an access token as an agent.", single=True)

AsHeader = Annotated[bool, typer.Option("--header", help="Print a JSON object of HTTP headers, for hosts.")]


@app.command()
def token(
    url: Url = None,
    client_id: ClientId = None,
    secret_file: SecretFile = None,
    header: AsHeader = False,
    as_json: AsJson = False,
) -> None:
    """Print a fresh access token for the agent whose credentials are given."""
    from broker.edges.cli.remote.client import http_session
    from broker.edges.cli.remote.credentials import Grant, Tokens, credentials

    who = credentials(url, client_id, secret_file, os.environ)

    async def fetch() -> Grant:
        async with http_session() as http:
            return await Tokens(http, who).fetch()

    grant = run(fetch)
    if header:
        print(json.dumps({"Authorization": f"Bearer {grant.token}"}))
        return
    Output(as_json=as_json).item(
        {"access_token": grant.token, "token_type": "Bearer", "expires_in": grant.expires_in}, grant.token
    )
