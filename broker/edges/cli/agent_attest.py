"""What has an agent's owner signed? `broker agent attest` takes it on an operator's word for the key."""

import getpass
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.agent_facts import known
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest
from broker.model import Agent, Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.identity.attestation import Difference

_LARGEST = 64 << 10

DIFFERENT = 1
"""Exit code of a check where the manifest differs from the baseline."""

Name = Annotated[str, typer.Argument(help="The agent's id.")]
Signed = Annotated[
    Path | None,
    typer.Argument(
        metavar="[MANIFEST]",
        exists=True,
        dir_okay=False,
        help="Its manifest, a compact JWS; without one, how the agent stands to its baseline.",
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", exists=True, dir_okay=False, help="The public key it has to be signed with, a JWK."
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Only show what would be different; exit code 1 if so.")]


def attest(
    ctx: typer.Context,
    name: Name,
    manifest: Signed = None,
    *,
    key: Key = None,
    check: Check = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take a signed manifest as an agent's baseline: level A2 until that ends or is contradicted.

    Says what is different from the baseline before. An agent that has drifted is back at its level.
    """
    from broker.identity.attestation import attested, differences

    output = Output(as_json=as_json)
    signed = _verified(manifest, key)

    async def take(office: Office) -> tuple[Agent, Agent]:
        before = await known(office, name)
        if signed is not None:
            rebase = partial(attested, manifest=signed)
            rebase(before)  # refuses what is not of this agent or contradicts its record
            if not check:
                by = getpass.getuser()
                await office.journal.change_agent(before.id, rebase, by=by, reason="attested")
        return before, await known(office, name)

    before, after = on_the_state(ctx, configured(config).settings, take)
    if signed is None:
        _show(after, output)
        return
    found = differences(before.manifest, signed)
    facts = {
        "agent": after.id,
        "attestation": after.attestation,
        "kid": signed.kid,
        "digest": signed.digest,
        "taken": not check,
        "differences": [{"what": d.what, "baseline": d.baseline, "manifest": d.now} for d in found],
    }
    told = f"{after.id} would change" if check else f"{after.id} is at level {after.attestation}"
    output.item(
        facts, "\n".join([told if found or not check else f"{after.id} is as signed", *_lines(found)])
    )
    if check and found:
        raise typer.Exit(DIFFERENT)


def _verified(manifest: Path | None, key: Path | None) -> Manifest | None:
    """What was handed in, if anything was, and its key signed it.

    Raises:
        InvalidRequest: it does not count, or there is no key to check it with.
    """
    from broker.identity.attestation import verified_manifest
    from broker.identity.jwks import read_key_set

    if manifest is None:
        return None
    if key is None:
        raise InvalidRequest("who has signed this?", hint="give the public key: --key FILE")
    keys = read_key_set(_read(key))
    if len(keys) != 1:
        raise InvalidRequest(f"`{key}` holds {len(keys)} keys", hint="give the one that signed the manifest")
    compact = _read(manifest).decode("ascii", "replace").strip()
    return verified_manifest(compact, keys[0], time.time())


def _show(agent: Agent, output: Output) -> None:
    """How an agent stands to its baseline."""
    from broker.identity.attestation import level_of

    level, why = level_of(agent, time.time())
    manifest = agent.manifest
    facts = {
        "agent": agent.id,
        "attestation": level,
        "why": why or None,
        "drift": agent.drift,
        "digest": manifest.digest if manifest else None,
    }
    lines = [f"{agent.id} is at level {level}{f': {why}' if why else ''}"]
    lines.append(f"its manifest is {manifest.digest}" if manifest else "it has no manifest")
    output.item(facts, visible("\n".join(lines)))


def _lines(found: "Sequence[Difference]") -> list[str]:
    return [visible(f"  {one.what}: {one.baseline or '-'} → {one.now or '-'}") for one in found]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InvalidRequest(f"`{path}` is larger than {_LARGEST >> 10} KiB")
    return content
