"""Does the definition of a tool try to give orders? Read once, before it is served for the first time.

A definition is allowed to say how its own tool is used; it is suspect when it speaks to the model about
anything else: other tools, other users' secrets, what to keep from the user.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, cast

from broker.guardrails.gate import Gate
from broker.guardrails.injection.detector import LIKELY, Injection, weighed
from broker.guardrails.injection.rules import evidence
from broker.guardrails.message import Message, Passage
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.views import views_of
from broker.model import Json, Kind, Target

_SHORTEST_NAME = 6
_DEEPEST = 32
_NOWHERE = Scene(Target(Kind.TOOL, "", "", "", {}))


def suspicions(definition: Json, others: Collection[str]) -> Sequence[str]:
    """What speaks against a definition by itself, in words for an operator; none of its text.

    Args:
        definition: the whole of it: titles, descriptions, defaults and enumerations are all read.
        others: the names of other connectors' tools, which it has no business to speak of.
    """
    passages = [Passage(text) for text in _texts(definition) if text]
    message = Message(passages, Stage.DEFINITION, _NOWHERE)
    readings = [message, *(view.message for view in views_of(message))]
    families = sorted({family for reading in readings for family in _families(reading)})
    found = [f"reads like an order ({', '.join(families)})"] if families else []
    named = sorted(name for name in others if len(name) >= _SHORTEST_NAME and _speaks_of(message.text, name))
    return found + [f"speaks of the tool `{name}` of another connector" for name in named[:3]]


def _families(message: Message) -> Iterator[str]:
    """The families of evidence in stretches that carry enough of it."""
    hits = _gate().hits(message.lower)[0]
    heavy = [(start, end) for start, end, points in weighed(message.lower, hits) if points >= LIKELY]
    for one in evidence(message.lower, hits):
        if any(start <= one.start < end for start, end in heavy):
            yield one.family


@cache
def _gate() -> Gate:
    return Gate([Injection()])


def _speaks_of(text: str, name: str) -> bool:
    at = text.find(name)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(name) : at + len(name) + 1]
        if not any(c.isalnum() or c == "_" for c in before + after):
            return True
        at = text.find(name, at + 1)
    return False


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a definition, keys of schemas included: property names are read like the rest."""
    if isinstance(value, str):
        yield value
    elif depth >= _DEEPEST:
        raise ValueError("nested too deep to be read")
    elif isinstance(value, dict):
        for key, inner in cast("Json", value).items():
            yield key
            yield from _texts(inner, depth + 1)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _texts(inner, depth + 1)
