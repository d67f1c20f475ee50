"""Who may use the operator API? `broker operator …` works on the state: only this machine makes operators."""

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.agent_facts import kept
from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.durations import seconds
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest
from broker.identity.operators import LONGEST_S, Operator, OperatorId, Right, new_token, token_digest
from broker.identity.records import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

app = noun("People who run the broker, for its operator API: add, list, renew, revoke.")

_COLUMNS = ("operator", "rights", "created", "expires", "status")

Name = Annotated[str, typer.Argument(help="The operator's id; the log names them by it.")]
Rights = Annotated[
    list[str],
    typer.Option("--right", metavar="|".join(Right), help="What they may do; may be repeated."),
]
Expires = Annotated[str, typer.Option(metavar="DURATION", help="How long the token works.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="Write the token there (mode 0600), do not print it.")
]
Reason = Annotated[str, typer.Option(help="Why; goes into the log.")]


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    *,
    rights: Rights,
    expires: Expires = "90d",
    token_file: TokenFile = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add an operator. Their token is shown once and kept nowhere."""
    now = int(time.time())
    operator = Operator(
        id=OperatorId(name_of(name)),
        rights=frozenset(map(_right, rights)),
        created_at=now,
        expires_at=now + _lifetime(expires),
    )
    token = new_token(operator.id)

    async def enrol(office: Office) -> None:
        await office.operators.add(operator, token_digest(token), by=getpass.getuser())

    with kept(token, token_file):
        on_the_state(ctx, configured(config).settings, enrol, create=True)
    _hand_over(operator.id, operator.expires_at, token, token_file, Output(as_json=as_json))


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """All operators, those that are revoked included."""

    async def look(office: Office) -> "Sequence[Operator]":
        return await office.store.operators.operators()

    found = on_the_state(ctx, configured(config).settings, look)
    empty = "no operators yet: `broker operator add NAME --right read`"
    Output(as_json=as_json).rows(_COLUMNS, [_row(operator) for operator in found], empty=empty)


@app.command()
def renew(
    ctx: typer.Context,
    name: Name,
    *,
    expires: Expires = "90d",
    token_file: TokenFile = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give an operator a new token. It is shown once; the old one is refused from now on."""
    operator_id = OperatorId(name_of(name))
    token, expires_at = new_token(operator_id), int(time.time()) + _lifetime(expires)

    async def change(office: Office) -> None:
        await office.operators.renew(operator_id, token_digest(token), expires_at, by=getpass.getuser())

    with kept(token, token_file):
        on_the_state(ctx, configured(config).settings, change)
    _hand_over(operator_id, expires_at, token, token_file, Output(as_json=as_json))


@app.command()
def revoke(
    ctx: typer.Context, name: Name, reason: Reason = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Refuse an operator for good, from their next request on. Their name stays taken."""

    async def end(office: Office) -> bool:
        return await office.operators.revoke(
            OperatorId(name), now=int(time.time()), by=getpass.getuser(), reason=reason
        )

    stood = on_the_state(ctx, configured(config).settings, end)
    told = f"{name} is revoked" if stood else f"{name} was revoked already"
    Output(as_json=as_json).item({"operator": name, "changed": stood}, told)


def _lifetime(text: str) -> int:
    lifetime = seconds(text)
    if not 0 < lifetime <= LONGEST_S:
        raise InvalidRequest(f"a token cannot live for `{text}`", hint=f"at most {LONGEST_S // 86_400}d")
    return lifetime


def _right(text: str) -> Right:
    try:
        return Right(text)
    except ValueError:
        raise InvalidRequest(f"there is no right `{text[:80]}`", hint=f"use {', '.join(Right)}") from None


def _hand_over(
    operator_id: OperatorId, expires_at: int, token: str, token_file: Path | None, output: Output
) -> None:
    """Show the token, once, or say in which file it is."""
    ends = datetime.fromtimestamp(expires_at, UTC).isoformat()
    facts = {"operator": operator_id, "expires": ends}
    if token_file is None:
        output.item(facts | {"token": token}, f"operator  {operator_id}\ntoken     {token}\nuntil     {ends}")
        output.note("the token is not shown again")
        return
    path = str(token_file.absolute())
    output.item(facts | {"token_file": path}, f"operator  {operator_id}\ntoken in  {path}\nuntil     {ends}")


def _row(operator: Operator) -> dict[str, object]:
    if operator.revoked_at is not None:
        status = "revoked"
    else:
        status = "active" if time.time() < operator.expires_at else "expired"
    return {
        "operator": operator.id,
        "rights": sorted(operator.rights),
        "created": datetime.fromtimestamp(operator.created_at, UTC).isoformat(),
        "expires": datetime.fromtimestamp(operator.expires_at, UTC).isoformat(),
        "status": status,
    }
