"""Which keys does the broker sign tokens with? `broker keys …` works on the state, server or not."""

import getpass
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

if TYPE_CHECKING:
    from broker.identity.token_keys import SigningKey

app = noun("Keys that sign access tokens: list, rotate.")

_COLUMNS = ("kid", "state", "created", "until")

Drop = Annotated[
    bool,
    typer.Option("--drop", help="The present key has leaked: refuse every token it signed, from now on."),
]


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The keys that hold: the next, the active one, those that retire."""

    async def look(office: Office) -> "list[SigningKey]":
        return office.keys.tokens.held()

    found = on_the_state(ctx, configured(config).settings, look)
    Output(as_json=as_json).rows(_COLUMNS, [_row(key) for key in found], empty="no keys")


@app.command()
def rotate(ctx: typer.Context, drop: Drop = False, config: Config = None, as_json: AsJson = False) -> None:
    """Sign with the next key from now on. Tokens in use stay good for as long as they live."""
    from broker.identity.token_keys import new_token_key
    from broker.identity.tokens import LEEWAY_S, MAX_LIFETIME_S

    now = int(time.time())
    until = now if drop else now + MAX_LIFETIME_S + LEEWAY_S

    async def change(office: Office) -> "list[SigningKey]":
        key = new_token_key(now)
        await office.credentials.rotate_key(key, now=now, until=until, by=getpass.getuser())
        await office.keys.tokens.refresh()
        return office.keys.tokens.held()

    found = on_the_state(ctx, configured(config).settings, change)
    Output(as_json=as_json).rows(_COLUMNS, [_row(key) for key in found], empty="no keys")


def _row(key: "SigningKey") -> dict[str, object]:
    until = None if key.not_after is None else datetime.fromtimestamp(key.not_after, UTC).isoformat()
    return {
        "kid": key.kid,
        "state": key.state,
        "created": datetime.fromtimestamp(key.created_at, UTC).isoformat(),
        "until": until,
    }
