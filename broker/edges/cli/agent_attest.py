"""What has an agent's owner signed? `broker agent attest` takes it on an operator's word for the key."""

import getpass
import time
from pathlib import Path
from typing import Annotated

import typer

from broker.edges.cli.agent_facts import known
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest
from broker.model import Agent, AgentId

_LARGEST = 64 << 10

Name = Annotated[str, typer.Argument(help="The agent's id.")]
Signed = Annotated[
    Path, typer.Argument(metavar="MANIFEST", exists=True, dir_okay=False, help="Its manifest, a compact JWS.")
]
Key = Annotated[
    Path,
    typer.Option(
        "--key", exists=True, dir_okay=False, help="The public key it has to be signed with, a JWK."
    ),
]


def attest(
    ctx: typer.Context,
    name: Name,
    manifest: Signed,
    *,
    key: Key,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take a signed manifest of an agent: it is at level A2 until that ends or is contradicted."""
    from broker.identity.attestation import attested, verified_manifest
    from broker.identity.jwks import read_key_set

    keys = read_key_set(_read(key))
    if len(keys) != 1:
        raise InvalidRequest(f"`{key}` holds {len(keys)} keys", hint="give the one that signed the manifest")
    compact = _read(manifest).decode("ascii", "replace").strip()
    signed = verified_manifest(compact, keys[0], time.time())

    async def take(office: Office) -> Agent:
        await office.journal.change_agent(
            AgentId(name), lambda agent: attested(agent, signed), by=getpass.getuser()
        )
        return await known(office, name)

    agent = on_the_state(ctx, configured(config).settings, take)
    facts = {"agent": agent.id, "attestation": agent.attestation, "kid": signed.kid, "digest": signed.digest}
    Output(as_json=as_json).item(facts, f"{agent.id} is at level {agent.attestation}")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InvalidRequest(f"`{path}` is larger than {_LARGEST >> 10} KiB")
    return content
