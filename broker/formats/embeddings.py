"""OpenAI's Embeddings: `POST /v1/embeddings`. Nothing is written, limited or streamed."""

from collections.abc import Sequence
from typing import Any

from broker.formats.chat import ChatAssembly
from broker.formats.interface import Delta, Slot, count, nested
from broker.model import Json, Method, Usage


class Embeddings:  # the port's signatures name what is ignored here
    """Implements `Format`."""

    method = Method.EMBED

    def limit(self, params: Json) -> int | None:  # noqa: ARG002
        """See `Format`."""
        return 0

    def limited(self, params: Json, tokens: int, key: str) -> Json:  # noqa: ARG002
        """See `Format`."""
        return params

    def answers(self, params: Json) -> int:  # noqa: ARG002
        """See `Format`."""
        return 1

    def least(self, params: Json) -> int:  # noqa: ARG002
        """See `Format`."""
        return 0

    def objection(self, params: Json) -> str | None:
        """See `Format`."""
        return "embeddings do not stream" if params.get("stream") else None

    def beyond(self, params: Json) -> bool:  # noqa: ARG002
        """See `Format`. Numbers of tokens are longer than one byte each."""
        return False

    def prompt(self, params: Json) -> str:  # noqa: ARG002
        """See `Format`."""
        return ""

    def tools(self, params: Json) -> list[tuple[str, Any]]:  # noqa: ARG002
        """See `Format`."""
        return []

    def deltas(self, event: Json) -> Sequence[Delta]:  # noqa: ARG002
        """See `Format`."""
        return ()

    def ends(self, event: Json) -> Sequence[Slot]:  # noqa: ARG002
        """See `Format`."""
        return ()

    def bare(self, event: Json) -> bool:  # noqa: ARG002
        """See `Format`."""
        return False

    def piece(self, event: Json, delta: Delta, text: str) -> Json:  # noqa: ARG002
        """See `Format`."""
        return event

    def usage(self, body: Json) -> Usage | None:
        """See `Format`."""
        said = nested(body, "usage")
        return Usage(read=count(said.get("prompt_tokens")), wrote=0) if said else None

    def assembly(self) -> ChatAssembly:
        """See `Format`; never asked for."""
        return ChatAssembly()
