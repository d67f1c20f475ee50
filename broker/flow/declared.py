"""What do the declared arguments of a call say? Where their values come from, and what they add up to."""

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

from broker.arguments import UnreadableArgumentError, total, values
from broker.flow.reading import Reading
from broker.flow.words import Words, normal
from broker.model import Argument, Json, Origin, Role, Target

MOST_COUNTED = 2**63 - 1
"""The largest number that rules know."""


@dataclass(slots=True)
class Declared:
    """The declared arguments of one call. `sums` and `values` are by the counter that they count for."""

    provenance: dict[str, Origin] = field(default_factory=dict[str, Origin])
    sums: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    values: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    unreadable: list[str] = field(default_factory=list[str])

    def count(self, counters: dict[str, int], counted: Collection[bytes]) -> None:
        """Add them to the counters. Of a value that cannot be read the most is assumed."""
        for counter, amount in self.sums:
            counters[counter] = min(counters.get(counter, 0) + amount, MOST_COUNTED)
        for counter, digest in self.values:
            counters[counter] = counters.get(counter, 0) + (digest not in counted)
        for name in self.unreadable:
            counters[f"sum.{name}"] = counters[f"distinct.{name}"] = MOST_COUNTED


def read_declared(target: Target, params: Json, words: Words, reading: Reading) -> Declared:
    """Read the declared arguments of a call. One that cannot be read is taken for untrusted."""
    declared = Declared()
    for argument in target.arguments:
        try:
            _read(argument, params, words, reading, declared)
        except UnreadableArgumentError:
            declared.provenance[argument.name] = Origin.UNTRUSTED
            declared.unreadable.append(argument.name)
    return declared


def _read(argument: Argument, params: Json, words: Words, reading: Reading, declared: Declared) -> None:
    texts = [_text(value, argument.scale) for value in values(argument, params)]
    if not texts:
        return
    if argument.role is not None:
        found = [word for text in texts for word in words.of_value(text)]
        declared.provenance[argument.name] = reading.origin(found)
    if argument.scale is not None:
        declared.sums.append((f"sum.{argument.name}", total(argument, params)))
        return
    for text in dict.fromkeys(map(normal, texts)):
        declared.values.append((f"distinct.{argument.name}", words.hash(f"{argument.name}={text}")))
        if argument.role is Role.DESTINATION:
            declared.values.append(("destinations", words.hash(f"destination={text}")))


def _text(value: int | str, scale: int | None) -> str:
    """A value as it would stand in a text: 1999 cents are `19.99`."""
    if isinstance(value, str) or not scale:
        return str(value)
    return format(Decimal(value).scaleb(-scale), "f")
