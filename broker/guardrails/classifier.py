"""Does a text read like an attack to a model that was trained on them? A second look, where it is installed.

A small sentence model (MiniLM with two heads, packaged by `stackone-defender`, Apache-2.0) scores pieces of
at most 256 tokens. Its first head says "attack", its second "only speaks of one": a piece is a finding where
the first is high and the second low. It takes milliseconds for each KB, so by default it looks only at what
the rules of `injection` find at all suspicious. The package itself is never imported: it reads no more than
10,000 characters of a text and takes its own failures for a clean bill.
"""

import hashlib
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import anyio
import anyio.to_thread

from broker.documents import Node
from broker.guardrails.gate import Gate
from broker.guardrails.injection.detector import Injection
from broker.guardrails.injection.rules import evidence
from broker.guardrails.interface import Span
from broker.guardrails.message import Message
from broker.guardrails.packaged import Packaged
from broker.guardrails.scene import Stage

_PACKAGED = Packaged("stackone_defender", guard="classifier", extra="ml")
_MODEL = "models/minilm-multihead-v5"
_KNOWN = {
    "model_quantized.onnx": "3d4a1ba798c395c140202992c50e6c8de02fb1b9bd5aba6540848705b9c1e92c",
    "tokenizer.json": "0d3aef594edd5f9b53e7f814277a9171dc70ff93eb66bda6e01f7aa53997d963",
}
"""What the thresholds below were measured with, by SHA-256; another model would need others."""

_TEMPERATURE = 2.41
_TOKENS = 256
_BATCH = 8
_REMEMBERED = 4096
_WORKERS = 2
_SHORTEST = 10
_LONGEST_SENTENCE = 240
_WIDTHS = (32, 64, 128, _TOKENS)
"""Texts are padded to one of these: a quantised score depends on it, and equal texts get equal scores."""

LEVELS: Mapping[str, tuple[float, float]] = {
    "low": (0.94, 0.30),
    "medium": (0.88, 0.325),
    "high": (0.77, 0.325),
}
"""How much is a finding: at least so much attack, and less than so much talk of one."""

_SENTENCE = re.compile(r"[^.!?\n\x01]*(?:[.!?]+(?=\s)|\n|\x01|[.!?]+|\Z)")
_REPEATED = re.compile(r"([^\w\s])\1{3,}")

Scores = tuple[float, float]
"""Attack, and talk of attacks; each 0 to 1."""


class Model(Protocol):
    """Scores texts. May block for milliseconds; may be called from several threads at once."""

    def scores(self, texts: Sequence[str]) -> list[Scores]:
        """One pair for each text."""
        ...

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        ...


class Classifier:
    """The reviewer `classifier`.

    Args:
        model: scores texts.
        level: what of `LEVELS` is a finding.
        everything: look at all texts, not only at those that the rules find suspicious.
        within_s: seconds after which a message counts as not read.
    """

    name = "classifier"
    version = 1
    stages = frozenset(Stage)
    types: Mapping[str, str] = {"reads-like-orders": "orders"}

    def __init__(self, model: Model, *, level: str, everything: bool, within_s: float) -> None:
        self._model = model
        self._attack, self._talk = LEVELS[level]
        self._everything = everything
        self.within_s = within_s
        self._gate = Gate([Injection()])
        self._threads = anyio.CapacityLimiter(_WORKERS)
        self._known: OrderedDict[bytes, Scores] = OrderedDict()

    async def review(self, message: Message, found: Sequence[Span]) -> Sequence[Span]:  # noqa: ARG002 - it looks for itself: what policies allow is not in `found`
        """See `Reviewer.review`."""
        places = [place for number in self._suspicious(message) for place in self._pieces(message, number)]
        scored = await anyio.to_thread.run_sync(
            self._score, message.text, places, limiter=self._threads, abandon_on_cancel=True
        )
        return [
            Span(*place, "reads-like-orders", attack)
            for place, (attack, talk) in zip(places, scored, strict=True)
            if attack >= self._attack and talk < self._talk
        ]

    def _suspicious(self, message: Message) -> Sequence[int]:
        """The passages that are looked at."""
        if self._everything:
            return range(len(message.passages))
        hits = self._gate.hits(message.lower)[0]
        return sorted({message.number_at(one.start) for one in evidence(message.lower, hits)})

    def _pieces(self, message: Message, number: int) -> Iterator[tuple[int, int]]:
        start, end = message.bounds(number)
        if end - start >= _SHORTEST:
            yield from pieces(message.text, start, end, self._model)

    def _score(self, text: str, places: Sequence[tuple[int, int]]) -> list[Scores]:
        """Runs in a worker thread."""
        plain = [_plain(text[start:end]) for start, end in places]
        keys = [hashlib.blake2b(piece.encode("utf-8", "surrogatepass")).digest() for piece in plain]
        known = {key: self._known[key] for key in keys if key in self._known}
        new = {key: piece for key, piece in zip(keys, plain, strict=True) if key not in known}
        known |= dict(zip(new, self._model.scores(list(new.values())), strict=True))
        self._remember(known)
        return [known[key] for key in keys]

    def _remember(self, known: Mapping[bytes, Scores]) -> None:
        """Only hashes and scores are kept, and only the latest."""
        for key, score in known.items():
            self._known[key] = score
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def pieces(text: str, start: int, end: int, model: Model) -> Iterator[tuple[int, int]]:
    """A text in pieces of whole sentences that the model can read; all of it is in some piece."""
    sentences = list(_sentences(text, start, end))
    sizes = model.tokens([_plain(text[a:b]) for a, b in sentences])
    first, size = start, 0
    for (begin, _), tokens in zip(sentences, sizes, strict=True):
        if tokens > _TOKENS - 2:
            raise ValueError("a sentence has more tokens than the model can read")
        if size and size + tokens > _TOKENS - 2:
            yield first, begin
            first, size = begin, 0
        size += tokens
    if first < end:
        yield first, end


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = start
    while at < end:
        found = _SENTENCE.match(text, at, end)
        stop = min(found.end() if found else end, at + _LONGEST_SENTENCE)
        stop = stop if stop > at else end
        yield at, stop
        at = stop


def _plain(text: str) -> str:
    """As the model was trained to read: normalised, and without rows of the same sign."""
    normal = unicodedata.normalize("NFKC", text)
    visible = "".join(c for c in normal if unicodedata.category(c) != "Cf")
    return _REPEATED.sub(r"\1\1\1", visible).strip()


@dataclass(frozen=True, slots=True)
class _Onnx:
    """The packaged model."""

    session: Any
    tokenizer: Any
    numpy: Any

    def scores(self, texts: Sequence[str]) -> list[Scores]:
        encoded = self.tokenizer.encode_batch(list(texts))
        of_width: dict[int, list[int]] = {}
        for number, one in enumerate(encoded):
            width = next(width for width in _WIDTHS if len(one.ids) <= width)
            of_width.setdefault(width, []).append(number)
        scored: dict[int, Scores] = {}
        for width, numbers in of_width.items():
            for first in range(0, len(numbers), _BATCH):
                batch = numbers[first : first + _BATCH]
                scored |= zip(batch, self._run([encoded[n].ids for n in batch], width), strict=True)
        return [scored[number] for number in range(len(encoded))]

    def _run(self, rows: Sequence[Sequence[int]], width: int) -> list[Scores]:
        ids = self.numpy.zeros((len(rows), width), dtype="int64")
        mask = self.numpy.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        (logits,) = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        if not self.numpy.isfinite(logits).all():
            raise ValueError("the model answered with something that is no number")
        likely = 1 / (1 + self.numpy.exp(-logits / _TEMPERATURE))
        return [(float(attack), float(talk)) for attack, talk in likely]

    def tokens(self, texts: Sequence[str]) -> list[int]:
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [len(one.ids) + sum(len(more.ids) for more in one.overflowing) for one in encoded]


@cache
def packaged_model() -> Model:
    """The model of the extra `ml`, loaded once.

    Raises:
        ConfigurationError: it is not installed, or is another than the one that was measured.
    """
    numpy, onnxruntime, tokenizers = _PACKAGED.modules("numpy", "onnxruntime", "tokenizers")
    data = {name: _PACKAGED.read(f"{_MODEL}/{name}", sha256) for name, sha256 in _KNOWN.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data["model_quantized.onnx"], options, ["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_str(data["tokenizer.json"].decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(_TOKENS)
    return _Onnx(session, tokenizer, numpy)


def make_classifier(settings: Node | None) -> Classifier:
    """The guard `classifier`. Its settings: `level` (low, medium, high), `reads` (suspicious, everything),
    `within_ms`.

    Raises:
        ConfigurationError: a mistake, with file and line; or the extra is not installed.
    """
    fields = settings.mapping(("level", "reads", "within_ms")) if settings else {}
    level = fields["level"].one_of(list(LEVELS)) if "level" in fields else "medium"
    reads = fields["reads"].one_of(["suspicious", "everything"]) if "reads" in fields else "suspicious"
    within_ms = _whole(fields["within_ms"]) if "within_ms" in fields else 2000
    return Classifier(
        packaged_model(), level=level, everything=reads == "everything", within_s=within_ms / 1000
    )


def _whole(node: Node) -> int:
    text = node.text()
    if not text.isdigit() or not 10 <= int(text) <= 60_000:
        raise node.error(f"`{text}` is no time", "milliseconds, 10 to 60000, in quotes")
    return int(text)
