"""How does a deployment begin? `broker init` writes what an operator then changes."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.options import AsJson
from broker.edges.cli.output import Output
from broker.errors import ConfigurationError

app = noun("Write broker.toml and policies to start from.", single=True)

Folder = Annotated[Path, typer.Argument(help="Where to; it is made if need be.")]

_TEMPLATE = """\
# The broker's settings. `broker config show` prints what is in force and where it comes from,
# docs/reference/settings.md explains every setting. The environment overrides this file:
# BROKER_SERVER__PORT=9000. A secret is never written here, only where it is: "env:NAME", "file:PATH".

deployment = "broker.local"        # stays the same for the life of the log
state_dir = ".broker"              # database, keys and log; back this up
policies_dir = "policies"          # who may do what; changes take effect within a second

[server]
host = "127.0.0.1"                 # any other address needs TLS or behind_proxy = true
port = 8321
# public_url = "https://broker.example"
# tls_certificate = "tls/chain.pem"
# tls_key = "tls/key.pem"

[tokens]
lifetime_s = 600                   # how long an access token is valid

# Connectors. Installed is not enabled: each needs a section. Tools are called <section>__<tool>.

[connectors.echo]
use = "echo"

# [connectors.git]
# use = "mcp"
# settings.command = ["/usr/local/bin/mcp-server-git", "--repository", "/srv/repository"]

# [connectors.tickets]
# use = "mcp"
# settings.url = "https://tickets.example/mcp"
# settings.headers.Authorization = "Bearer ${env:TICKETS_TOKEN}"
"""


@app.command()
def init(folder: Folder = Path(), as_json: AsJson = False) -> None:
    """Write broker.toml and a copy of the shipped policies. Nothing that is there is touched."""
    from broker.policy.load import SCHEMA_FILE, shipped_policies

    config, policies = folder / "broker.toml", folder / "policies"
    for path in (config, policies):
        if path.exists():
            raise ConfigurationError(f"`{path}` exists already", hint="remove it, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(shipped_policies(), policies, ignore=shutil.ignore_patterns(SCHEMA_FILE))
    config.write_text(_TEMPLATE, encoding="utf-8")
    output = Output(as_json=as_json)
    output.item(
        {"config": str(config.absolute()), "policies": str(policies.absolute())},
        f"wrote {config} and {policies}/",
    )
    output.note("next: broker agent add NAME --role reader, then broker serve")
