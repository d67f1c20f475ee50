"""Which keys sign tokens and checkpoints? `broker keys …` works on the state, server or not."""

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.kept import signer_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest

if TYPE_CHECKING:
    from broker.identity.token_keys import SigningKey

app = noun("Keys that sign access tokens and checkpoints: list, rotate.")

_COLUMNS = ("kid", "state", "created", "until")

Drop = Annotated[
    bool,
    typer.Option("--drop", help="The present key has leaked: refuse every token it signed, from now on."),
]

OfLog = Annotated[
    bool, typer.Option("--log", help="The key that signs the log's checkpoints, instead of that of tokens.")
]


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The keys that hold: the next, the active one, those that retire."""

    async def look(office: Office) -> "list[SigningKey]":
        return office.keys.tokens.held()

    found = on_the_state(ctx, configured(config).settings, look)
    Output(as_json=as_json).rows(_COLUMNS, [_row(key) for key in found], empty="no keys")


@app.command()
def rotate(
    ctx: typer.Context,
    *,
    log: OfLog = False,
    drop: Drop = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Sign with the next key from now on. Tokens in use stay good for as long as they live.

    With `--log` every log is signed once more, then the private key is destroyed. What it signed still
    verifies.
    """
    if log and drop:
        raise InvalidRequest("`--drop` is about tokens", hint="leave it or `--log` out")
    if log:
        _rotate_log_key(ctx, config, as_json=as_json)
        return
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


def _rotate_log_key(ctx: typer.Context, config: Path | None, *, as_json: bool) -> None:
    from broker.audit.publisher import newest_note
    from broker.identity.keys import new_log_key

    now = int(time.time())

    async def change(office: Office) -> tuple[str, str]:
        store, signer, (present, *_) = office.store.log, signer_of(office), office.keys.log.all
        for head in await store.logs():
            await newest_note(store, signer, head)
        key = new_log_key(now)
        await office.credentials.rotate_log_key(key, office.keys.log.stored, now=now, by=getpass.getuser())
        for head in await store.logs():  # the record of it is the last that the old key vouches for
            await newest_note(store, signer, head)
        return present.kid, key.kid

    retired, active = on_the_state(ctx, configured(config).settings, change)
    line = f"checkpoints are signed with {active}; {retired} signs no more: `broker audit keys` shows both"
    Output(as_json=as_json).item({"active": active, "retired": retired}, line)


def _row(key: "SigningKey") -> dict[str, object]:
    until = None if key.not_after is None else datetime.fromtimestamp(key.not_after, UTC).isoformat()
    return {
        "kid": key.kid,
        "state": key.state,
        "created": datetime.fromtimestamp(key.created_at, UTC).isoformat(),
        "until": until,
    }
