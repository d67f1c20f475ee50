"""How is one question put in any format, and what does its answer say? For callers that speak none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.formats.interface import nested, objects, texts_of
from broker.model import Json, Method

SPEAKING: Final = (Method.CHAT, Method.MESSAGES, Method.RESPONSES)
"""The formats that a question can be put in, the one that is asked in first if there is a choice."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model. `most`: how many tokens the answer may have; None: all that may be held."""

    model: str
    prompt: str
    system: str | None = None
    most: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says: its text, and why it ends in the words of its provider (None: it does not say)."""

    text: str
    why: str | None


def spoken(methods: Sequence[str]) -> Method | None:
    """The format to ask a model in that speaks these; None if a question cannot be put to it."""
    return next((method for method in SPEAKING if method in methods), None)


def put(method: Method, question: Question, limit: str) -> Json:
    """A question as the body of a request.

    Args:
        method: the format.
        question: what is asked.
        limit: what the upstream calls the limit of an answer in Chat Completions.
    """
    system, user = question.system, {"role": "user", "content": question.prompt}
    body: Json = {"model": question.model}
    match method:
        case Method.RESPONSES:
            body |= {"input": question.prompt, "instructions": system, "max_output_tokens": question.most}
        case Method.MESSAGES:
            body |= {"messages": [user], "system": system, "max_tokens": question.most}
        case _:
            told = [] if system is None else [{"role": "system", "content": system}]
            body |= {"messages": [*told, user], limit: question.most}
    body["temperature"] = question.temperature
    return {key: value for key, value in body.items() if value is not None}


def said(method: Method, body: Json) -> Said:
    """What a whole answer says."""
    match method:
        case Method.RESPONSES:
            parts = [part for item in objects(body.get("output")) for part in objects(item.get("content"))]
            why = nested(body, "incomplete_details").get("reason", body.get("status"))
            text = "".join(texts_of([part]) for part in parts)
        case Method.MESSAGES:
            why, text = body.get("stop_reason"), texts_of(body.get("content"))
        case _:
            choice, *_ = [*objects(body.get("choices")), Json()]
            message = nested(choice, "message")
            why = choice.get("finish_reason")
            text = texts_of(message.get("content")) or texts_of(message.get("refusal"))
    return Said(text, why if isinstance(why, str) else None)
