"""Which keys does an agent sign with? `broker agent key …`: with a key there is no secret to keep."""

import getpass
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest, UnknownTarget
from broker.model import AgentId

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from typer._click.core import Context

    from broker.identity.interface import AgentKey, KeyAddress
    from broker.settings import Settings

app = noun("Public keys an agent authenticates with: add, list, remove.")

_LARGEST_JWK = 16 << 10
_DASHED_THUMBPRINT = re.compile(r"-[A-Za-z0-9_-]{42}")
"""RFC 7638, of SHA-256, in base64url."""

Name = Annotated[str, typer.Argument(help="The agent's id.")]
Jwk = Annotated[
    str | None,
    typer.Option("--jwk", metavar="FILE", help="A public key as JWK or JWKS (RFC 7517); `-` reads stdin."),
]
JwksUri = Annotated[
    str | None,
    typer.Option("--jwks-uri", metavar="URL", help="Instead: where the agent publishes its keys as JWKS."),
]
Kid = Annotated[
    str, typer.Argument(help="The key's thumbprint or address, as `broker agent key list` shows it.")
]


class _NamesThumbprints(TyperCommand):
    """A verb whose last argument may be a thumbprint: one in 64 begins with a dash, and is no option."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Put thumbprints where nothing is taken for an option, unless who asks has done so."""
        dashed = [] if "--" in args else [arg for arg in args if _DASHED_THUMBPRINT.fullmatch(arg)]
        rest = [arg for arg in args if arg not in dashed]
        return super().parse_args(ctx, [*rest, "--", *dashed] if dashed else args)


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    *,
    jwk: Jwk = None,
    jwks_uri: JwksUri = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let an agent authenticate with a key (private_key_jwt), or with those it publishes, from now on."""
    if (jwk is None) == (jwks_uri is None):
        raise InvalidRequest("which key?", hint="give either --jwk FILE or --jwks-uri URL")
    settings, output = configured(config).settings, Output(as_json=as_json)
    if jwks_uri is not None:
        on_the_state(ctx, settings, _publication(AgentId(name), jwks_uri, settings))
        output.item({"agent": name, "jwks_uri": jwks_uri}, f"keys from {jwks_uri}")
    elif jwk is not None:
        kids = on_the_state(ctx, settings, _registration(AgentId(name), jwk))
        output.item({"agent": name, "kids": kids}, "\n".join(f"key {kid}" for kid in kids))


def _registration(agent: AgentId, source: str) -> "Callable[[Office], Coroutine[Any, Any, list[str]]]":
    from broker.identity.jwks import read_key_set

    keys = read_key_set(_read(source))
    now = int(time.time())

    async def register(office: Office) -> list[str]:
        for key in keys:
            await office.credentials.add_key(agent, key.stored(now), by=getpass.getuser())
        return [key.kid for key in keys]

    return register


def _publication(
    agent: AgentId, url: str, settings: "Settings"
) -> "Callable[[Office], Coroutine[Any, Any, None]]":
    from broker.identity.interface import KeyAddress
    from broker.identity.key_addresses import key_address

    allowed = key_address(url, allow_private=settings.tokens.private_jwks_uris)
    address = KeyAddress(allowed, int(time.time()))

    async def note(office: Office) -> None:
        await office.credentials.publish_keys(agent, address, by=getpass.getuser())

    return note


@app.command("list")
def list_(ctx: typer.Context, name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """The keys of an agent."""
    from broker.identity.jwks import stored_key

    async def look(office: Office) -> "tuple[Sequence[AgentKey], KeyAddress | None]":
        agent = AgentId(name)
        if await office.store.agents.agent(agent) is None:
            raise UnknownTarget(f"there is no agent `{name}`", hint="`broker agent list` shows all")
        return await office.store.agents.keys(agent), await office.store.agents.key_address(agent)

    found, address = on_the_state(ctx, configured(config).settings, look)
    rows: list[dict[str, object]] = [
        {
            "kid": key.kid,
            "algorithms": sorted(stored_key(key).algorithms),
            "added": _moment(key.created_at),
        }
        for key in found
    ]
    if address is not None:
        rows.append({"kid": address.url, "algorithms": [], "added": _moment(address.created_at)})
    empty = f"no keys yet: `broker agent key add {name} --jwk FILE`"
    Output(as_json=as_json).rows(("kid", "algorithms", "added"), rows, empty=empty)


@app.command(cls=_NamesThumbprints)
def remove(ctx: typer.Context, name: Name, kid: Kid, config: Config = None, as_json: AsJson = False) -> None:
    """Refuse a key of an agent from now on, or those that it publishes."""

    async def take(office: Office) -> None:
        gone = office.credentials.unpublish_keys if "://" in kid else office.credentials.remove_key
        await gone(AgentId(name), kid, by=getpass.getuser())

    on_the_state(ctx, configured(config).settings, take)
    Output(as_json=as_json).item({"agent": name, "kid": kid}, f"key {kid} of {name} is removed")


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


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
