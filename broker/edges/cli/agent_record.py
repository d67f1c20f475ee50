"""What is known of an agent, and how has that come about? `broker agent set`, `broker agent history`."""

import getpass
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from broker.edges.cli.agent_facts import known, warn_of_unknown_roles
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.ink import visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest
from broker.identity.records import MOST_ATTRIBUTES, attribute_of, micro_usd, text_of
from broker.model import Agent, AgentId, Json, MicroUSD

if TYPE_CHECKING:
    from broker.audit.interface import StoredRecord

Name = Annotated[str, typer.Argument(help="The agent's id.")]
Roles = Annotated[
    list[str] | None, typer.Option("--role", "-r", help="A role; all together replace those it has.")
]
Team = Annotated[str | None, typer.Option(help='Team within the organisation; "" for none.')]
Cap = Annotated[str | None, typer.Option(metavar="USD", help='What it may spend in total; "" for no cap.')]
Owner = Annotated[str | None, typer.Option(help="Who answers for it.")]
Purpose = Annotated[str | None, typer.Option(help='What it is for; "" for none.')]
Model = Annotated[str | None, typer.Option(help='The model it runs on; "" for none.')]
ModelVersion = Annotated[str | None, typer.Option(help='The version of that model; "" for none.')]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="KEY=VALUE", help="One more fact; KEY= removes it; may be repeated."),
]
Reason = Annotated[str, typer.Option(help="Why; goes into the log.")]


def set_(
    ctx: typer.Context,
    name: Name,
    *,
    roles: Roles = None,
    team: Team = None,
    cap: Cap = None,
    owner: Owner = None,
    purpose: Purpose = None,
    model: Model = None,
    model_version: ModelVersion = None,
    attributes: Attributes = None,
    reason: Reason = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change what is known of an agent. Its policies and its cap apply from its next call on."""
    texts = {
        "team": team,
        "owner": owner,
        "purpose": purpose,
        "model": model,
        "model_version": model_version,
    }
    given: dict[str, Any] = {key: text_of(text) for key, text in texts.items() if text is not None}
    if roles:
        given["roles"] = frozenset(roles)
    if cap is not None:
        given["cap_micro_usd"] = micro_usd(cap) if cap else None
    pairs = [_pair(text) for text in attributes or []]
    if not given and not pairs:
        raise InvalidRequest("nothing is to be changed", hint="`broker agent set --help` lists what can be")
    _change(ctx, name, _changing(given, pairs), reason, config, as_json=as_json)


def history(ctx: typer.Context, name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Everything that was done to an agent, oldest first."""
    from broker.audit.interface import SYSTEM_LOG, Filter

    async def look(office: Office) -> "list[StoredRecord]":
        await known(office, name)
        return [record async for record in office.store.log.records(SYSTEM_LOG, Filter(agent=name))]

    records = on_the_state(ctx, configured(config).settings, look)
    output = Output(as_json=as_json)
    rows = [_told(record) for record in records]
    if as_json:
        output.item(rows, "")
    else:
        shown = [row | {"what": visible(_what(row)), "by": row.get("by")} for row in rows]
        output.rows(("ts", "type", "by", "what"), shown, empty="nothing is recorded")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidRequest(f"`{text[:80]}` is no attribute", hint="write --attribute stage=test")
    return attribute_of(key, value)


def _changing(given: dict[str, Any], pairs: list[tuple[str, str]]) -> Callable[[Agent], Agent]:
    def change(agent: Agent) -> Agent:
        attributes = {key: value for key, value in {**agent.attributes, **dict(pairs)}.items() if value}
        if len(attributes) > MOST_ATTRIBUTES:
            raise InvalidRequest(f"an agent has at most {MOST_ATTRIBUTES} attributes")
        return replace(agent, attributes=attributes, **given)

    return change


def _change(
    ctx: typer.Context,
    name: str,
    change: Callable[[Agent], Agent],
    reason: str,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    settings, output = configured(config).settings, Output(as_json=as_json)

    async def changed(office: Office) -> tuple[bool, Agent]:
        different = await office.journal.change_agent(
            AgentId(name), change, by=getpass.getuser(), reason=reason
        )
        return different, await known(office, name)

    different, agent = on_the_state(ctx, settings, changed)
    output.item(
        {"agent": name, "changed": different}, f"{name} is changed" if different else f"{name} was so already"
    )
    warn_of_unknown_roles(policies_of(settings), agent.roles, output)


def _told(record: "StoredRecord") -> Json:
    import orjson

    body = cast("Json", orjson.loads(record.body))
    facts = {key: value for key, value in body.items() if key not in {"v", "log", "node", "agent"}}
    return {"seq": record.seq, **facts}


def _what(row: Json) -> str:
    """The facts of a record on one line."""
    if "profile" in row:
        said = {key: value for key, value in cast("Json", row["profile"]).items() if value}
        return ", ".join(f"{key} {_text(key, value)}" for key, value in said.items())
    before, after = cast("Json", row.get("before") or {}), cast("Json", row.get("after") or {})
    parts = [f"{key} {_text(key, before.get(key))} → {_text(key, after[key])}" for key in after]
    shown = {"seq", "ts", "type", "by", "reason", "before", "after", "status"}
    parts += [f"{key} {value}" for key, value in row.items() if key not in shown]
    if row.get("reason"):
        parts.append(f"({row['reason']})")
    return ", ".join(parts)


def _text(key: str, value: Any) -> str:
    from broker.edges.cli.output import dollars

    if key == "cap" and isinstance(value, int):
        return dollars(MicroUSD(value))
    if isinstance(value, list):
        return " ".join(str(part) for part in cast("list[Any]", value)) or "-"
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" for k, v in cast("Json", value).items()) or "-"
    return "-" if value is None else str(value)
