"""What has a transaction read and done, and what of it is not to count any more? `broker transaction`."""

import getpass
import time
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import UnknownTarget

if TYPE_CHECKING:
    from broker.flow.tally import Tally

app = noun("What a transaction has read and done: show, declassify.")

Transaction = Annotated[str, typer.Argument(help="Its id: `broker calls show` has it.")]
Labels = Annotated[list[str], typer.Argument(help="Labels, e.g. private-data.")]
Reason = Annotated[str, typer.Option("--reason", help="Why that is safe; it is recorded.")]


@app.command()
def show(
    ctx: typer.Context, transaction: Transaction, config: Config = None, as_json: AsJson = False
) -> None:
    """The labels of all that a transaction has read, and its counters."""

    async def look(office: Office) -> "Tally | None":
        owner = await office.store.flow.owner(transaction)
        return None if owner is None else (await office.store.flow.load(owner)).tally

    tally = on_the_state(ctx, configured(config).settings, look)
    if tally is None:
        raise UnknownTarget(
            f"there is no transaction `{transaction}`", hint="`broker calls show CALL` has its id"
        )
    counters = tally.so_far(int(time.time()))
    lines = [f"{name:14} {number}" for name, number in counters.items()]
    text = "\n".join([f"{'has read':14} {', '.join(sorted(tally.labels)) or 'nothing'}", *lines])
    Output(as_json=as_json).item({"taint": sorted(tally.labels), "counters": counters}, text)


@app.command()
def declassify(
    ctx: typer.Context,
    transaction: Transaction,
    labels: Labels,
    *,
    reason: Reason,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let labels of what a transaction has read not count any more. What it reads later counts again."""

    async def take(office: Office) -> frozenset[str]:
        return await office.journal.declassify(
            transaction, frozenset(labels), by=getpass.getuser(), reason=reason
        )

    had = sorted(on_the_state(ctx, configured(config).settings, take))
    text = f"{', '.join(had)}: does not count any more" if had else "it has read nothing of that"
    Output(as_json=as_json).item({"transaction": transaction, "labels": had}, text)
