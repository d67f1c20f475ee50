"""OpenAI's Chat Completions: `POST /v1/chat/completions`, spoken by most servers of models."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from broker.formats.interface import Counter, Delta, Path, Slot, count, nested, objects, texts_of
from broker.model import Json, Method, Usage

LIMITS = ("max_completion_tokens", "max_tokens")
_OWN_TOOLS = frozenset({"function", "custom"})
_NO_TEXT = frozenset(
    {"role", "id", "type", "name", "index", "signature", "encrypted_content", "data", "format"}
)
"""Keys inside a delta whose texts are no part of what a model writes."""
_BEYOND = frozenset({"image_url", "input_audio", "file", "video_url"})


class Chat:
    """Implements `Format`."""

    method = Method.CHAT

    def limit(self, params: Json) -> int | None:
        """See `Format`."""
        said = [n for key in LIMITS if type(n := params.get(key)) is int and n > 0]
        return min(said) if said else None

    def limited(self, params: Json, tokens: int, key: str) -> Json:
        """See `Format`."""
        keys = [k for k in LIMITS if params.get(k) is not None] or [key]
        return {**params, **dict.fromkeys(keys, tokens)}

    def answers(self, params: Json) -> int:
        """See `Format`."""
        return max(1, count(params.get("n")))

    def least(self, params: Json) -> int:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return 16

    def objection(self, params: Json) -> str | None:
        """See `Format`."""
        if params.get("web_search_options") is not None:
            return "`web_search_options` has the provider search the web"
        for tool in objects(params.get("tools")):
            if tool.get("type", "function") not in _OWN_TOOLS:
                return f"the tool `{str(tool.get('type'))[:60]}` is run by the provider"
        if params.get("logprobs") or params.get("top_logprobs"):
            return "`logprobs` hands the answer out in pieces that guards cannot read"
        return None

    def beyond(self, params: Json) -> bool:
        """See `Format`."""
        parts = (part for m in objects(params.get("messages")) for part in objects(m.get("content")))
        return any(part.get("type") in _BEYOND for part in parts) or params.get("audio") is not None

    def prompt(self, params: Json) -> str:
        """See `Format`."""
        said = [m for m in objects(params.get("messages")) if m.get("role") in ("system", "developer")]
        return "\n".join(texts_of(message.get("content")) for message in said)

    def tools(self, params: Json) -> list[tuple[str, Any]]:
        """See `Format`."""
        functions = [nested(tool, "function") or tool for tool in objects(params.get("tools"))]
        functions += objects(params.get("functions"))
        return [(str(f.get("name")), f.get("parameters")) for f in functions]

    def deltas(self, event: Json) -> Sequence[Delta]:
        """See `Format`."""
        found: list[Delta] = []
        for at, choice in enumerate(objects(event.get("choices"))):
            if isinstance(delta := choice.get("delta"), dict):
                index = choice.get("index", at)
                found += _pieces(cast("Json", delta), (index,), ("choices", at, "delta"))
        return found

    def ends(self, event: Json) -> Sequence[Slot]:
        """See `Format`."""
        choices = enumerate(objects(event.get("choices")))
        return [(choice.get("index", at),) for at, choice in choices if choice.get("finish_reason")]

    def bare(self, event: Json) -> bool:
        """See `Format`."""
        if event.get("usage"):
            return False
        for choice in objects(event.get("choices")):
            delta = nested(choice, "delta")
            if choice.get("finish_reason") or delta.get("role"):
                return False
            if any(call.get("id") for call in objects(delta.get("tool_calls"))) or "function_call" in delta:
                return False
        return True

    def piece(self, event: Json, delta: Delta, text: str) -> Json:
        """See `Format`."""
        head = {key: value for key, value in event.items() if key not in ("choices", "usage")}
        index, *inner = delta.slot
        return {**head, "choices": [{"index": index, "delta": _nest(inner, text), "finish_reason": None}]}

    def usage(self, body: Json) -> Usage | None:
        """See `Format`."""
        said = nested(body, "usage")
        if not said:
            return None
        read, wrote = nested(said, "prompt_tokens_details"), nested(said, "completion_tokens_details")
        return Usage(
            read=count(said.get("prompt_tokens")),
            wrote=_written(said),
            cached=count(read.get("cached_tokens")),
            written=count(read.get("cache_write_tokens")),
            audio_read=count(read.get("audio_tokens")),
            audio_wrote=count(wrote.get("audio_tokens")),
        )

    def assembly(self) -> "ChatAssembly":
        """See `Format`."""
        return ChatAssembly()


def _written(said: Json) -> int:
    """Some servers leave what was thought out of `completion_tokens`; the total then tells."""
    return max(
        count(said.get("completion_tokens")),
        count(said.get("total_tokens")) - count(said.get("prompt_tokens")),
    )


def _pieces(value: Json, slot: Slot, path: Path) -> Iterator[Delta]:
    """Every text in a delta; items of a list are told apart by their `index`."""
    for key, inside in value.items():
        if key in _NO_TEXT:
            continue
        if isinstance(inside, str):
            if inside:
                yield Delta((*slot, key), (*path, key), inside)
        elif isinstance(inside, dict):
            yield from _pieces(cast("Json", inside), (*slot, key), (*path, key))
        else:
            for at, item in enumerate(objects(inside)):
                yield from _pieces(item, (*slot, key, item.get("index", at)), (*path, key, at))


def _nest(slot: Sequence[str | int], text: str) -> Any:
    """The text where the slot says, and nothing beside it."""
    if not slot:
        return text
    first, rest = slot[0], _nest(slot[1:], text)
    return {first: rest} if isinstance(first, str) else [{"index": first, **rest}]


class ChatAssembly:
    """Implements `Assembly`."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._counter = Counter()
        self._usage: Json | None = None
        self.ended = False

    @property
    def usage(self) -> Usage | None:
        """See `Assembly`."""
        return None if self._usage is None else _CHAT.usage({"usage": self._usage})

    @property
    def wrote(self) -> int:
        """See `Assembly`."""
        return self._counter.tokens

    def add(self, event: Json) -> None:
        """See `Assembly`."""
        self._counter.add(_CHAT.deltas(event))
        self._head |= {k: v for k, v in event.items() if k not in ("choices", "usage", "object")}
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        for at, choice in enumerate(objects(event.get("choices"))):
            index = choice.get("index", at)
            whole = self._choices.setdefault(index, {"index": index, "message": {"role": "assistant"}})
            _join(whole["message"], nested(choice, "delta"))
            whole |= {k: v for k, v in choice.items() if k not in ("index", "delta")}
        self.ended = bool(self._choices) and all(c.get("finish_reason") for c in self._choices.values())

    def cut(self) -> Sequence[Json]:
        """See `Assembly`."""
        open_ones = [i for i, c in self._choices.items() if not c.get("finish_reason")] or [0]
        ends: list[Json] = [{"index": i, "delta": {}, "finish_reason": "length"} for i in open_ones]
        event: Json = {**self._head, "object": "chat.completion.chunk", "choices": ends}
        self.add(event)
        return [event]

    def body(self) -> Json:
        """See `Assembly`."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            choice["message"].setdefault("content", None)
            for call in objects(choice["message"].get("tool_calls")):
                call.pop("index", None)
        body: Json = {**self._head, "object": "chat.completion", "choices": choices}
        return body if self._usage is None else {**body, "usage": self._usage}


def _join(whole: Json, piece: Json) -> None:
    """Put what a delta adds to a message: texts grow, items of lists are told apart by their `index`."""
    for key, value in piece.items():
        known: Any = whole.get(key)
        if isinstance(value, str) and isinstance(known, str) and key not in _NO_TEXT:
            whole[key] = known + value
        elif isinstance(value, dict) and isinstance(known, dict):
            _join(cast("Json", known), cast("Json", value))
        elif isinstance(value, list) and (known is None or isinstance(known, list)):
            whole[key] = _joined(cast("list[Any]", known or []), cast("list[Any]", value))
        elif value is not None or known is None:
            whole[key] = dict(cast("Json", value)) if isinstance(value, dict) else value


def _joined(known: list[Any], pieces: list[Any]) -> list[Any]:
    for at, piece in enumerate(pieces):
        if not isinstance(piece, dict):
            known.append(piece)
            continue
        fields = cast("Json", piece)
        index = fields.get("index", at)
        same = next((k for n, k in enumerate(objects(known)) if k.get("index", n) == index), None)
        if same is None:
            known.append(
                {**fields, **({"function": dict(nested(fields, "function"))} if "function" in fields else {})}
            )
        else:
            _join(same, fields)
    return known


_CHAT = Chat()
