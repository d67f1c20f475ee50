"""Is a text about something that it should not be about, or about nothing that it should?

    guard: topics
    settings:
      topics:
        medical-advice:
          like: ["What dose of ibuprofen should I take?", ...]   # a few dozen sentences do best
          near: "0.3"                                            # how near a sentence has to be, 0 to 1
      only: [billing, orders]      # anything about none of these is `off-topic`
    rules:
      - do: {topics: flag}

A sentence is as near to a topic as the mean of the three nearest examples. This tells subjects apart, not
intentions, and not reliably: flag with it, do not block.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.documents import Node
from broker.guardrails.embeddings import Embeddings, packaged_embeddings
from broker.guardrails.interface import Span
from broker.guardrails.message import Message
from broker.guardrails.scene import Stage

OFF_TOPIC = "off-topic"
_SENTENCE = re.compile(r"[^.!?\n\x01\"]{12,400}")
_NEAREST = 3
_FEWEST = 3
_NEAR = 0.3
_MOST_SENTENCES = 2000


@dataclass(frozen=True, slots=True)
class Topic:
    """A subject: example sentences as vectors, and how near one has to be to them."""

    name: str
    examples: Any
    near: float


class Topics:
    """The reviewer `topics`.

    Args:
        embeddings: turns sentences into vectors.
        topics: all subjects.
        only: those that a text has to be about, if any.
    """

    name = "topics"
    version = 1
    stages = frozenset(Stage)
    within_s = 5.0

    def __init__(self, embeddings: Embeddings, topics: Sequence[Topic], only: frozenset[str]) -> None:
        self._embeddings = embeddings
        self._topics = topics
        self._only = only
        names = [topic.name for topic in topics if topic.name not in only] + [OFF_TOPIC] * bool(only)
        self.types: Mapping[str, str] = dict.fromkeys(names, "topics")

    async def review(self, message: Message, found: Sequence[Span]) -> Sequence[Span]:  # noqa: ARG002 - subjects are its own matter
        """See `Reviewer.review`."""
        places = [(m.start(), m.end()) for m in _SENTENCE.finditer(message.text)]
        if not places:
            return []
        if len(places) > _MOST_SENTENCES:
            raise ValueError("more sentences than are read")
        vectors = self._embeddings.of([message.text[start:end] for start, end in places])
        return list(self._spans(places, vectors))

    def _spans(self, places: Sequence[tuple[int, int]], vectors: Any) -> Iterator[Span]:
        on_topic = False
        for topic in self._topics:
            nearness = self._nearness(vectors, topic)
            best = int(nearness.argmax())
            if float(nearness[best]) < topic.near:
                continue
            if topic.name in self._only:
                on_topic = True
            else:
                yield Span(*places[best], topic.name, min(1.0, float(nearness[best])))
        if self._only and not on_topic:
            yield Span(*places[0], OFF_TOPIC)

    def _nearness(self, vectors: Any, topic: Topic) -> Any:
        near = self._embeddings.numpy.sort(vectors @ topic.examples.T, axis=1)
        return near[:, -_NEAREST:].mean(axis=1)


def make_topics(settings: Node | None) -> Topics:
    """The guard `topics`. Its settings: `topics`, by name `like` (examples) and `near`; `only` (names).

    Raises:
        ConfigurationError: a mistake, with file and line; or the extra is not installed.
    """
    embeddings = packaged_embeddings()
    fields = settings.mapping(("topics", "only"), required=("topics",)) if settings else {}
    topics = [_topic(name, node, embeddings) for name, node in fields["topics"].pairs()] if fields else []
    names = [topic.name for topic in topics]
    only = (
        frozenset(n.one_of(names) for n in fields["only"].items()) if "only" in fields else frozenset[str]()
    )
    return Topics(embeddings, topics, only)


def _topic(name: Node, node: Node, embeddings: Embeddings) -> Topic:
    fields = node.mapping(("like", "near"), required=("like",))
    like = [item.text() for item in fields["like"].items()]
    if len(like) < _FEWEST:
        raise fields["like"].error(
            f"{len(like)} examples say too little", "write at least three, better a few dozen"
        )
    if name.text() == OFF_TOPIC:
        raise name.error(f"`{OFF_TOPIC}` is what is about none of `only`", "take another name")
    return Topic(name.text(), embeddings.of(like), _near(fields["near"]) if "near" in fields else _NEAR)


def _near(node: Node) -> float:
    text = node.text()
    if not re.fullmatch(r"0\.[0-9]{1,3}", text):
        raise node.error(f"`{text}` is not how near something is", 'write a share in quotes, e.g. "0.3"')
    return float(text)
