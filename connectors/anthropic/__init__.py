"""Models behind Anthropic's API.

[connectors.anthropic]
use = "anthropic"
settings.api_key = "env:ANTHROPIC_API_KEY"
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from pydantic import BaseModel, Field

from broker.connector import Method
from connectors.models.provider import Provider
from connectors.models.settings import ModelSettings

__all__ = ["Anthropic", "AnthropicSettings"]


class AnthropicSettings(ModelSettings):
    """Anthropic itself, unless `url` says another."""

    url: str = Field(default="https://api.anthropic.com/v1", description="base address of its API")
    version: str = Field(default="2023-06-01", description="`anthropic-version` of its API")


class Anthropic(Provider):
    """An `Upstream` for Messages."""

    settings: type[BaseModel] = AnthropicSettings
    methods: ClassVar[Sequence[Method]] = (Method.MESSAGES,)
    beta: ClassVar[str] = "anthropic-beta"

    def credentials(self, key: str) -> Mapping[str, str]:
        """As its SDK shows it."""
        return {"x-api-key": key}

    def fixed(self, chosen: ModelSettings) -> Mapping[str, str]:
        """The version of the API."""
        return {"anthropic-version": cast("AnthropicSettings", chosen).version}
