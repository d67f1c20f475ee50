"""Which provider of models, and what is known of its models? A connector's section in `broker.toml`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from broker.connector import Json, Method

_REFERENCES = ("env:", "file:", "vault:")
_WIRE = frozenset({Method.CHAT, Method.RESPONSES, Method.EMBED, Method.MESSAGES})


def _is_wire(method: Method) -> Method:
    if method not in _WIRE:
        raise ValueError(f"use {', '.join(sorted(_WIRE))}")
    return method


WireMethod = Annotated[Method, AfterValidator(_is_wire)]


class ModelFacts(BaseModel):
    """What the operator says of one model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aliases: tuple[str, ...] = Field(default=(), description="other names that agents may call it by")
    methods: tuple[WireMethod, ...] | None = Field(
        default=None, description="what it speaks: `chat/completions`, `responses`, `embeddings`, `messages`"
    )
    context: int | None = Field(default=None, gt=0, description="tokens that it reads at most")
    max_output: int | None = Field(
        default=None, gt=0, description="tokens that it may write where a request does not say"
    )
    price: str | None = Field(default=None, description="its name in price tables, if that is another")


class ModelSettings(BaseModel):
    """A provider of models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="base address of its API, e.g. `https://api.example.com/v1`")
    fallbacks: tuple[str, ...] = Field(
        default=(), description="addresses with the same models at the same prices, asked while `url` fails"
    )
    api_key: str | None = Field(
        default=None, description="reference to its API key, e.g. `env:OPENAI_API_KEY`"
    )
    headers: dict[str, str] = Field(default_factory=dict, description="headers to send with every request")
    allow_private: bool = Field(
        default=False, description="whether it may be plain http, on this machine or in a private network"
    )
    provider: str | None = Field(
        default=None, description="its id in price tables, where its address does not tell"
    )
    models: dict[str, ModelFacts] = Field(
        default_factory=dict, description="the models to offer; none: those that it lists itself"
    )
    betas: tuple[str, ...] = Field(
        default=(),
        description="features on trial that callers may ask for in `anthropic-beta` or `openai-beta`; `*`"
        " stands for any text. What else they ask for is not passed on",
    )
    reports_cost: bool = Field(
        default=False, description="whether `usage.cost` of its answers is what it charges, in USD"
    )
    limit: str = Field(
        default="max_tokens", description="what it calls the limit of an answer in Chat Completions"
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        for address in (self.url, *self.fallbacks):
            parts = urlsplit(address)
            if parts.scheme not in ("https", "http") or not parts.hostname:
                raise ValueError("addresses look like https://host/v1")
            if parts.username is not None or parts.query or parts.fragment:
                raise ValueError("an address must not hold credentials, a query or a fragment")
            if parts.scheme == "http" and not self.allow_private:
                raise ValueError(
                    "use https, or set allow_private = true for a server on this machine or network"
                )
        if self.api_key is not None and not self.api_key.startswith(_REFERENCES):
            raise ValueError("`api_key` is a reference, e.g. `env:OPENAI_API_KEY`, never the key itself")
        return self

    @property
    def addresses(self) -> Sequence[str]:
        """Where it is asked, in turn."""
        return [address.rstrip("/") for address in (self.url, *self.fallbacks)]

    def passed(self, betas: Sequence[str]) -> list[str]:
        """Those of the features that callers ask for which may be asked of the provider."""
        return [beta for beta in betas if any(fnmatchcase(beta, allowed) for allowed in self.betas)]

    def offered(self, listed: Sequence[Json], methods: Sequence[Method]) -> list[Json]:
        """The models, as an offer holds them.

        Args:
            listed: what the provider lists of them.
            methods: what it speaks.
        """
        known = {str(model.get("id")): model for model in listed}
        return [self._model(name, known.get(name, {}), methods) for name in (self.models or known)]

    def _model(self, name: str, listed: Json, methods: Sequence[Method]) -> Json:
        facts = self.models.get(name, ModelFacts())
        context = facts.context or _first(listed, "max_model_len", "context_window", "max_input_tokens")
        output = facts.max_output or _first(listed, "max_output_tokens", "max_tokens")
        model: Json = {
            "id": name,
            "aliases": list(facts.aliases),
            "methods": [method.value for method in _with_counting(facts.methods or _spoken(name, methods))],
            "limit": self.limit,
            "provider": self.provider or f"{self.url.rstrip('/')}/",
        }
        optional = {"context": context, "max_output": output, "price": facts.price}
        optional |= {key: listed.get(key) for key in ("created", "display_name")}
        return model | {key: value for key, value in optional.items() if value is not None}


def _spoken(name: str, methods: Sequence[Method]) -> list[Method]:
    """A model that embeds does nothing else, and one that does not say so in its name does not embed."""
    embeds = "embed" in name.lower()
    return [method for method in methods if (method is Method.EMBED) == embeds]


def _with_counting(methods: Sequence[Method]) -> Sequence[Method]:
    """Who speaks Messages counts the tokens of them too."""
    return [*methods, Method.COUNT] if Method.MESSAGES in methods else methods


def _first(listed: Json, *keys: str) -> int | None:
    return next((n for key in keys if type(n := listed.get(key)) is int and n > 0), None)
