"""Which keys does an agent sign with? `broker agent key …`: with a key there is no secret to keep."""

import getpass
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest, UnknownTarget
from broker.model import AgentId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.identity.interface import AgentKey

app = noun("Public keys an agent authenticates with: add, list, remove.")

_LARGEST_JWK = 16 << 10

Name = Annotated[str, typer.Argument(help="The agent's id.")]
Jwk = Annotated[
    str,
    typer.Option("--jwk", metavar="FILE", help="A public key as JWK or JWKS (RFC 7517); `-` reads stdin."),
]
Kid = Annotated[str, typer.Argument(help="The key's thumbprint, as `broker agent key list` shows it.")]


@app.command()
def add(ctx: typer.Context, name: Name, jwk: Jwk, *, config: Config = None, as_json: AsJson = False) -> None:
    """Let an agent authenticate with a key (private_key_jwt) from now on."""
    from broker.identity.jwks import read_key_set

    keys = read_key_set(_read(jwk))
    now = int(time.time())

    async def register(office: Office) -> None:
        for key in keys:
            await office.credentials.add_key(AgentId(name), key.stored(now), by=getpass.getuser())

    on_the_state(ctx, configured(config).settings, register)
    kids = [key.kid for key in keys]
    Output(as_json=as_json).item({"agent": name, "kids": kids}, "\n".join(f"key {kid}" for kid in kids))


@app.command("list")
def list_(ctx: typer.Context, name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """The keys of an agent."""
    from broker.identity.jwks import stored_key

    async def look(office: Office) -> "Sequence[AgentKey]":
        agent = AgentId(name)
        if await office.store.agents.agent(agent) is None:
            raise UnknownTarget(f"there is no agent `{name}`", hint="`broker agent list` shows all")
        return await office.store.agents.keys(agent)

    found = on_the_state(ctx, configured(config).settings, look)
    rows = [
        {
            "kid": key.kid,
            "algorithms": sorted(stored_key(key).algorithms),
            "added": datetime.fromtimestamp(key.created_at, UTC).isoformat(),
        }
        for key in found
    ]
    empty = f"no keys yet: `broker agent key add {name} --jwk FILE`"
    Output(as_json=as_json).rows(("kid", "algorithms", "added"), rows, empty=empty)


@app.command()
def remove(ctx: typer.Context, name: Name, kid: Kid, config: Config = None, as_json: AsJson = False) -> None:
    """Refuse a key of an agent from now on."""

    async def take(office: Office) -> None:
        await office.credentials.remove_key(AgentId(name), kid, by=getpass.getuser())

    on_the_state(ctx, configured(config).settings, take)
    Output(as_json=as_json).item({"agent": name, "kid": kid}, f"key {kid} of {name} is removed")


def _read(source: str) -> bytes:
    if source == "-":
        content = sys.stdin.read(_LARGEST_JWK + 1).encode()
    else:
        try:
            with Path(source).open("rb") as file:
                content = file.read(_LARGEST_JWK + 1)
        except OSError as error:
            raise InvalidRequest(f"`{source}` cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_JWK:
        raise InvalidRequest(f"`{source}` is larger than {_LARGEST_JWK} bytes", hint="give one JWK or JWKS")
    return content
