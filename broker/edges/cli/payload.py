"""What was said in a call? Shown to whoever runs the machine, once the log says that they looked."""

import getpass
import json
from typing import TYPE_CHECKING

import typer

from broker.edges.cli.composition import Office, on_the_state
from broker.edges.cli.ink import visible
from broker.edges.cli.kept import VERIFICATION_FAILED
from broker.edges.cli.output import Output
from broker.edges.payloads import payload_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.audit.payloads import Opened
    from broker.settings import Settings


def show_payload(ctx: typer.Context, call: str, reason: str, settings: "Settings", output: Output) -> None:
    """Print arguments and result of a call. Exits with 6 if they are not what the log commits to.

    Raises:
        UnknownTarget: nothing is kept of it.
        InvalidRequest: no reason is given.
    """

    async def look(office: Office) -> "Sequence[Opened]":
        return await office.payloads.read(call, by=getpass.getuser(), reason=reason)

    found = on_the_state(ctx, settings, look)
    output.item(
        [payload_facts(one) for one in found], "\n".join(line for one in found for line in _lines(one))
    )
    if not all(one.holds or one.lost for one in found):
        raise typer.Exit(VERIFICATION_FAILED)


def _lines(opened: "Opened") -> list[str]:
    facts = payload_facts(opened)
    if opened.lost:
        return [f"{opened.part:10} cannot be read any more: a key of it is gone"]
    if not opened.holds:
        return [f"{opened.part:10} does not verify: it is not what record {opened.seq} commits to"]
    if opened.content is None:
        return [f"{opened.part:10} not kept; salt {facts['salt']}"]
    text = json.dumps(facts["content"], ensure_ascii=False, indent=2)
    return [f"{opened.part:10} as record {opened.seq} commits to", *map(visible, text.split("\n"))]
