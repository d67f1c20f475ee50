"""What happens if an agent calls this? `broker call` makes the call, for real."""

from typing import Annotated, Any, cast

import orjson
import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import visible
from broker.edges.cli.options import As, AsJson, Config, Url
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest
from broker.model import Json

app = noun("Call a tool as an agent.", single=True)

Tool = Annotated[str, typer.Argument(help="The tool's name, as `broker tool list` shows it.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Arguments; or all of them as one JSON object."),
]


@app.command()
def call(
    ctx: typer.Context,
    tool: Tool,
    *,
    agent: As,
    arguments: Arguments = None,
    url: Url = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Call a tool as an agent, through the running broker. Exits with 3 where it is refused."""
    from broker.edges.cli.acting import acting_as
    from broker.messages.refusals import refusal_in

    settings = configured(config).settings

    async def made(office: Office) -> Json:
        async with acting_as(office, settings, agent, url) as client:
            known: Json = next((t for t in await client.tools() if t["name"] == tool), {"name": tool})
            return await client.call(known, parsed(arguments or [], known.get("inputSchema")))

    result = on_the_state(ctx, settings, made)
    if (refusal := refusal_in(result)) is not None:
        raise refusal
    Output(as_json=as_json).item(result, "\n".join(_texts(result)))
    if result.get("isError") is True:
        raise typer.Exit(1)


def parsed(words: list[str], schema: object) -> Json:
    """Arguments from the command line, in the types that the tool's schema asks for.

    Raises:
        InvalidRequest: a word is no argument, or no value of its type.
    """
    if len(words) == 1 and words[0].startswith("{"):
        return cast("Json", _json(words[0], "the arguments"))
    arguments: Json = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise InvalidRequest(f"`{word}` is not an argument", hint="write KEY=VALUE, or one JSON object")
        arguments[key] = text if _is_text(schema, key) else _json(text, f"`{key}`")
    return arguments


def _is_text(schema: object, key: str) -> bool:
    properties = cast("Json", schema).get("properties") if isinstance(schema, dict) else None
    kind = cast("dict[str, Json]", properties or {}).get(key, {}).get("type", "string")
    return kind == "string" or (isinstance(kind, list) and "string" in kind)


def _json(text: str, what: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"{what} must be JSON, not `{text}`", hint="e.g. count=3 or tags='[\"a\"]'"
        ) from error


def _texts(result: Json) -> list[str]:
    content = cast("list[dict[str, Any]]", result.get("content") or [])
    return [visible(str(block["text"])) if "text" in block else f"[{block.get('type')}]" for block in content]
