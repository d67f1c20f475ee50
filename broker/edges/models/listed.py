"""Which models are there, as each provider's SDK reads a list of models?"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from broker.model import Json, Method, Target

_TOLD = ("methods", "context", "max_output")
"""What the broker tells of a model beyond what the formats have: which endpoints it has, and its limits in
tokens."""


def names(models: Sequence[Target]) -> Iterator[tuple[str, Target]]:
    """Every name that can be asked for: those of models, then their aliases."""
    taken: set[str] = set()
    for target in models:
        taken.add(target.name)
        yield target.name, target
    for target in models:
        for alias in target.definition["aliases"]:
            if alias not in taken:
                taken.add(alias)
                yield alias, target


def openai_model(name: str, target: Target) -> Json:
    """One model as `openai.types.Model` has it."""
    definition = target.definition
    more = {key: definition[key] for key in _TOLD if key in definition}
    created = definition.get("created", 0)
    return {"id": name, "object": "model", "created": created, "owned_by": definition["owned_by"], **more}


def openai_list(models: Sequence[Target]) -> Json:
    """All of them, as one page."""
    return {"object": "list", "data": [openai_model(name, target) for name, target in names(models)]}


def anthropic_model(name: str, target: Target) -> Json:
    """One model as `anthropic.types.ModelInfo` has it."""
    created = datetime.fromtimestamp(target.definition.get("created", 0), UTC)
    shown = str(target.definition.get("display_name", name))
    told: Json = {"type": "model", "id": name, "display_name": shown}
    return {**told, "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ")}


def anthropic_list(models: Sequence[Target]) -> Json:
    """Those that speak Messages, as one page."""
    speaking = [target for target in models if Method.MESSAGES in target.definition["methods"]]
    data = [anthropic_model(name, target) for name, target in names(speaking)]
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]}
