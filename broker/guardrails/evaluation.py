"""How well do the guards find what they should, and how often what they should not? Over labelled texts.

A file has one JSON object a line: `text`, `label` (`benign`, or what is in it), and where known `kind` (what
figures are grouped by, up to a colon) and `source`. A text counts as found if a guard has any finding in it
that is not allowed; whether the type is right is not looked at.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from broker.errors import ConfigurationError
from broker.guardrails.armed import UNREAD, Armed
from broker.guardrails.message import Message, Passage
from broker.guardrails.scene import Scene, Stage

BENIGN = "benign"
_KIB = 1024
_Z = 1.959964
"""Of the standard normal distribution, for 95 %."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled text."""

    text: str
    label: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in a sample: the guards that found something, and how long reading took, in seconds."""

    sample: Sample
    guards: frozenset[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of a group one guard found something in, with the 95 % interval after Wilson."""

    guard: str
    label: str
    group: str
    found: int
    total: int

    @property
    def rate(self) -> float:
        """0 to 1."""
        return self.found / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """What the rate may be elsewhere, as far as chance goes."""
        return wilson(self.found, self.total)


def wilson(found: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (E. B. Wilson, 1927)."""
    share, square = found / total, _Z * _Z
    centre = (share + square / (2 * total)) / (1 + square / total)
    spread = _Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples in a file.

    Raises:
        ConfigurationError: it cannot be read, or a line is no sample; with file and line.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _sample(line, f"{path.name}:{number}")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from error


def _sample(line: str, place: str) -> Sample:
    try:
        fields = json.loads(line)
        text, label = fields["text"], fields["label"]
        kind, source = fields.get("kind", label), fields.get("source", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{place}: is no sample",
            hint='write {"text": "...", "label": "benign", "kind": "...", "source": "..."}',
        ) from error
    if not all(isinstance(value, str) for value in (text, label, kind, source)):
        raise ConfigurationError(f"{place}: `text`, `label`, `kind` and `source` are texts")
    return Sample(text, label, kind.partition(":")[0], source)


async def look(armed: Armed, samples: Iterable[Sample], stage: Stage, scene: Scene) -> list[Seen]:
    """Have all guards read every sample, reviewers included."""
    rulings = armed.conduct.rulings(stage, scene)
    seen: list[Seen] = []
    for sample in samples:
        message = Message([Passage(sample.text)], stage, scene)
        began = time.perf_counter()
        verdicts = armed.look(message, rulings)
        seconds = time.perf_counter() - began
        verdicts = [*verdicts, *await armed.review(message, verdicts, rulings)]
        if any(verdict.type == UNREAD for verdict in verdicts):
            raise ConfigurationError("a guard failed on a sample", hint="the log says which, and how")
        names = frozenset(armed.conduct.guards[verdict.guard].detector.name for verdict in verdicts)
        seen.append(Seen(sample, names, seconds))
    return seen


def rates(seen: Sequence[Seen], guards: Sequence[str], *, by_source: bool = False) -> list[Rate]:
    """For each guard, and all together, and each group of samples, in how many something was found."""
    groups: dict[tuple[str, str], list[Seen]] = {}
    for one in seen:
        group = one.sample.source if by_source else one.sample.kind
        groups.setdefault((one.sample.label, group), []).append(one)
        groups.setdefault((one.sample.label, "(all)"), []).append(one)
    return [
        Rate(guard, label, group, sum(_found(one, guard) for one in members), len(members))
        for guard in [*guards, "(any)"]
        for (label, group), members in sorted(groups.items())
    ]


def _found(one: Seen, guard: str) -> bool:
    return bool(one.guards) if guard == "(any)" else guard in one.guards


def latency(seen: Sequence[Seen]) -> Mapping[str, float]:
    """Milliseconds that the detectors took: for a text (median, 99 %), and for each KiB over all."""
    times = [one.seconds * 1000 for one in seen]
    size = sum(len(one.sample.text.encode("utf-8", "replace")) for one in seen)
    return {
        "p50_ms": median(times),
        "p99_ms": quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0],
        "ms_per_kib": sum(times) / max(size / _KIB, 1e-9),
    }
