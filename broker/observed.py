"""What does a request to a model show of the agent that makes it? Its model, its prompt and its tools.

The agent's word is not needed for that: what it is made of passes the broker on its way to the model.
"""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256

import orjson

from broker.formats import FORMATS
from broker.model import Call, Json, Manifest, Target


@dataclass(frozen=True, slots=True)
class Observed:
    """The model that was asked for, and the SHA-256 of the system prompt (UTF-8) and of the tools, in hex.

    The tools are hashed as a manifest has them: the canonical JSON of `[[name, schema], ...]`, by name. A
    digest is empty where there is nothing to hash.
    """

    model: str
    prompt_sha256: str
    tools_sha256: str

    def differs(self, manifest: Manifest, names: Collection[str]) -> str:
        """In what it is not what a manifest says; empty where nothing contradicts it.

        `names` are all that the model is called. A request without a prompt or without tools says nothing
        about them.
        """
        found = (
            []
            if manifest.model in names
            else [f"it asks the model `{self.model}`, its manifest says `{manifest.model}`"]
        )
        if self.prompt_sha256 and self.prompt_sha256 != manifest.prompt_sha256:
            found.append("it runs with another system prompt than its manifest says")
        if self.tools_sha256 and self.tools_sha256 != manifest.tools_sha256:
            found.append("it offers its model other tools than its manifest says")
        return "; ".join(found)


def observe(call: Call, target: Target, params: Json) -> Observed:
    """What is seen of the caller of a model."""
    form = FORMATS[call.method]
    prompt, tools = form.prompt(params), sorted(form.tools(params), key=lambda tool: tool[0])
    return Observed(
        target.name,
        sha256(prompt.encode(errors="replace")).hexdigest() if prompt else "",
        sha256(orjson.dumps(tools, option=orjson.OPT_SORT_KEYS)).hexdigest() if tools else "",
    )


def least_of(call: Call, params: Json) -> int:
    """With fewer tokens than this an answer of a model is of no use."""
    return FORMATS[call.method].least(params)
