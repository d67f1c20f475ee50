"""Which settings are in force, and which are there? `broker config`."""

from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import configured
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

app = noun("The configuration in force and its schema: show, schema.")

AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print the reference page instead.")]


@app.command()
def show(config: Config = None, as_json: AsJson = False) -> None:
    """Every setting with its value and where it comes from."""
    loaded = configured(config)
    rows = [
        {"setting": ".".join(key), "value": value, "from": origin}
        for key, value, origin in loaded.effective()
    ]
    output = Output(as_json=as_json)
    output.rows(("setting", "value", "from"), rows, empty="")
    output.note(f"read from {loaded.file}" if loaded.file else "no broker.toml: these are the defaults")


@app.command()
def schema(markdown: AsMarkdown = False) -> None:
    """The JSON Schema of broker.toml."""
    import json

    from broker.edges.cli.reference import settings_page
    from broker.settings import Settings

    print(settings_page() if markdown else json.dumps(Settings.model_json_schema(), indent=2))
