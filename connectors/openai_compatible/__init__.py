"""Models behind OpenAI's API, or behind one of the many servers that speak it.

    [connectors.openai]
    use = "openai"
    settings.api_key = "env:OPENAI_API_KEY"

OpenAI, Azure OpenAI (`url = "https://NAME.openai.azure.com/openai/v1"`), Mistral, OpenRouter, vLLM, Ollama,
llama.cpp and others. A server on this machine needs `allow_private = true`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, Field, model_validator

from broker.connector import Json, Method
from connectors.models.provider import Provider
from connectors.models.settings import ModelSettings

__all__ = ["OpenAiCompatible", "OpenAiSettings"]

_OWN = "https://api.openai.com/v1"


class OpenAiSettings(ModelSettings):
    """OpenAI itself, unless `url` says another."""

    url: str = Field(default=_OWN, description="base address of its API")
    limit: str = Field(
        default="",
        pattern="^(max_tokens|max_completion_tokens)?$",
        description="what it calls the limit of an answer; default: as OpenAI and Azure, else `max_tokens`",
    )

    @model_validator(mode="before")
    @classmethod
    def _limit(cls, values: Json) -> Json:
        """OpenAI's newer models refuse the old name, and most other servers do not know the new one."""
        if values.get("limit"):
            return values
        own = any(host in str(values.get("url", _OWN)) for host in ("//api.openai.com/", ".azure.com/"))
        return {**values, "limit": "max_completion_tokens" if own else "max_tokens"}


class OpenAiCompatible(Provider):
    """An `Upstream` for Chat Completions, Responses and Embeddings."""

    settings: type[BaseModel] = OpenAiSettings
    methods: ClassVar[Sequence[Method]] = (Method.CHAT, Method.RESPONSES, Method.EMBED)
    beta: ClassVar[str] = "OpenAI-Beta"

    def credentials(self, key: str) -> Mapping[str, str]:
        """As a bearer token; Azure and OpenAI both take that."""
        return {"Authorization": f"Bearer {key}"}
