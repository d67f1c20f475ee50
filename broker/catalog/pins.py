"""Is a tool still the one that was approved? What models read and call is pinned by its hash.

A definition that comes under a new name is pinned when it is approved: by itself at first sight, or by
an operator where the connector says so. From then on:

* nothing has changed: it is served
* what a model reads has changed (description, title): the *pinned* text is served, the new one waits
* what it takes or does has changed (schemas, annotations): it is withheld until it is approved
* it is new under the name of another, or looks like another, or tries to give orders: it is withheld
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from broker.model import Json

PINNED = (
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
    "execution",
    "icons",
    "_meta",
)
"""The parts of a definition that a hash covers: all that the protocol gives a meaning."""

_READ = ("title", "description", "icons", "_meta")
"""The parts that only say something: where no other differs the pinned definition still tells the truth."""

_SAID = frozenset({"title", "description", "$comment", "examples"})
_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})

_LOOKALIKES = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "-": "", "_": "", ".": ""})

Suspect = Callable[[Json, Collection[str]], Sequence[str]]
"""What speaks against a definition by itself: given it and the names of other connectors' tools, reasons."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What is known of one tool of one connector.

    `approved` is the definition that was approved and `digest` its hash; None and "" where none ever was.
    `offered` is another that waits, `offered_digest` its hash, `because` why it waits. `exposed` is the name
    that callers see. `by` is who approved: an operator, or "first use".
    """

    connector: str
    tool: str
    exposed: str
    approved: Json | None = None
    digest: str = ""
    by: str = ""
    offered: Json | None = None
    offered_digest: str = ""
    because: str = ""

    @property
    def waits(self) -> bool:
        """Whether a definition waits for an operator."""
        return self.offered is not None

    @property
    def serves(self) -> bool:
        """Whether the tool can be called as it was approved, whatever waits."""
        return self.approved is not None and (self.offered is None or acts_alike(self.approved, self.offered))


@dataclass(frozen=True, slots=True)
class Admitted:
    """The tools of an offer that may be served, as they were approved, and what waits."""

    tools: list[Json]
    waiting: tuple[Pin, ...] = ()


class Approvals(Protocol):
    """Decides which tools of an offer may be served."""

    async def admit(
        self, connector: str, tools: Sequence[Json], exposed: Callable[[str], str], *, ask: bool
    ) -> Admitted:
        """Judge an offer against what was approved, and remember what is new.

        Args:
            connector: whose offer it is.
            tools: its tools' definitions, as they came.
            exposed: the outside name of a tool.
            ask: wait for an operator with everything that is new, rather than trust it at first sight.

        Raises:
            StorageUnavailable: what was approved cannot be read, or the news not be kept.
        """
        ...

    async def version(self) -> int:
        """Grows whenever an operator approves something, in whichever process."""
        ...


def digest_of(connector: str, definition: Json) -> str:
    """SHA-256 in hex over a connector's name and the pinned parts of a definition, keys sorted (RFC 8259)."""
    content = [connector, {part: definition[part] for part in PINNED if part in definition}]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def acts_alike(a: Json, b: Json) -> bool:
    """Whether two definitions differ at most in what they say, not in what they take, give or do."""
    return all(_shape(a.get(part)) == _shape(b.get(part)) for part in PINNED if part not in _READ)


def _shape(schema: Any, *, names: bool = False) -> Any:
    """A JSON Schema without what is only read; `names`: the keys are names, whatever they are called."""
    if isinstance(schema, list):
        return [_shape(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("Json", schema)
    return {
        key: _shape(value, names=not names and key in _NAMES)
        for key, value in fields.items()
        if names or key not in _SAID
    }


def skeleton(name: str) -> str:
    """What a name looks like: equal for names that a reader takes for each other (after UTS #39)."""
    folded = unicodedata.normalize("NFKD", name).translate(_CONFUSABLE)
    plain = "".join(c for c in folded if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return plain.casefold().replace("rn", "m").translate(_LOOKALIKES)


def judge(
    connector: str,
    tools: Sequence[Json],
    exposed: Callable[[str], str],
    known: Sequence[Pin],
    *,
    ask: bool,
    suspect: Suspect,
) -> list[Pin]:
    """What becomes of each tool of an offer, in its order.

    Args:
        connector: whose offer it is.
        tools: its definitions.
        exposed: the outside name of a tool.
        known: the pins of all connectors.
        ask: nothing new is approved by itself.
        suspect: what speaks against a definition by itself.
    """
    return _Judge(connector, exposed, known, ask=ask, suspect=suspect).judged(tools)


class _Judge:
    def __init__(
        self,
        connector: str,
        exposed: Callable[[str], str],
        known: Sequence[Pin],
        *,
        ask: bool,
        suspect: Suspect,
    ) -> None:
        self._connector = connector
        self._exposed = exposed
        self._ask = ask
        self._suspect = suspect
        self._own = {pin.tool: pin for pin in known if pin.connector == connector}
        # What was never approved claims nothing: else a refused tool could keep a name from its owner.
        approved = [pin for pin in known if pin.approved is not None]
        self._others = frozenset(pin.exposed for pin in approved if pin.connector != connector)
        self._looks: dict[str, Pin] = {}
        for pin in approved:
            self._note(pin)
        self._offered: frozenset[str] = frozenset()

    def judged(self, tools: Sequence[Json]) -> list[Pin]:
        self._offered = frozenset(str(tool["name"]) for tool in tools)
        # Of two new names that look alike the plain one is taken first, whatever their order.
        ordered = sorted(tools, key=lambda tool: not str(tool["name"]).isascii())
        pins = {str(tool["name"]): self._one(tool) for tool in ordered}
        return [pins[str(tool["name"])] for tool in tools]

    def _one(self, tool: Json) -> Pin:
        name, digest = str(tool["name"]), digest_of(self._connector, tool)
        pin = self._own.get(name) or Pin(self._connector, name, self._exposed(name))
        pin = replace(pin, exposed=self._exposed(name))
        if digest == pin.digest:
            return replace(pin, offered=None, offered_digest="", because="")
        because = self._against(tool, pin)
        if because:
            return replace(pin, offered=tool, offered_digest=digest, because=because)
        pin = replace(pin, approved=tool, digest=digest, by="first use")
        self._note(pin)
        return pin

    def _note(self, pin: Pin) -> None:
        """Remember what an approved name looks like: outside, and among those of its own connector."""
        self._looks[skeleton(pin.exposed)] = pin
        if pin.connector == self._connector:
            self._looks[f"/{skeleton(pin.tool)}"] = pin

    def _against(self, tool: Json, pin: Pin) -> str:
        """Why a definition that nobody approved has to wait; "" if it need not."""
        doubts = [*self._suspect(tool, self._others)]
        if pin.approved is not None:
            return "; ".join([f"changed: {', '.join(_differing(pin.approved, tool))}", *doubts])
        double = self._looks.get(skeleton(pin.exposed)) or self._looks.get(f"/{skeleton(pin.tool)}")
        if double is not None and (double.connector, double.tool) != (pin.connector, pin.tool):
            same = "has the name of" if double.exposed == pin.exposed else "looks like"
            doubts.append(f"{same} `{double.exposed}` of {double.connector}")
        if (former := self._former_name(tool)) is not None:
            doubts.append(f"is `{former}` under another name")
        if self._ask:
            doubts.append("new")
        return "; ".join(doubts)

    def _former_name(self, tool: Json) -> str | None:
        """The approved tool that is not offered any more and was the same but for its name."""
        body = {part: tool.get(part) for part in PINNED if part not in ("name", "title")}
        if not body["description"]:
            return None  # two tools without a description are alike by chance
        for pin in self._own.values():
            approved = pin.approved
            if approved is None or pin.tool in self._offered:
                continue
            if all(approved.get(part) == value for part, value in body.items()):
                return pin.tool
        return None


def _differing(a: Json, b: Json) -> list[str]:
    return [part for part in PINNED if a.get(part) != b.get(part)]


def admitted(pins: Sequence[Pin]) -> Admitted:
    """What a judgement lets through."""
    return Admitted(
        [pin.approved for pin in pins if pin.approved is not None and pin.serves],
        tuple(pin for pin in pins if pin.waits),
    )


def difference(pin: Pin) -> Mapping[str, tuple[Any, Any]]:
    """What differs between the approved definition and the one that waits: by part, before and after."""
    before, after = pin.approved or {}, pin.offered or {}
    return {part: (before.get(part), after.get(part)) for part in _differing(before, after)}


# Cyrillic and Greek letters that are drawn like Latin ones (Unicode confusables.txt).
_CONFUSABLE = str.maketrans(
    "аеорсухіјѕԁһӏпгтвмнкАВЕКМНОРСТУХІЈЅαβεικνορτυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdhlnrtbmhkABEKMHOPCTYXIJSabeiknoptuxyABEZHIKMNOPTYX",
)
