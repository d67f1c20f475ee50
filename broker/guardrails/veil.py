"""What does one screening do with pseudonyms? Restored first, issued after reading, given back in the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from broker.guardrails.armed import UNREAD, Armed
from broker.guardrails.interface import Action, Finding, Scene, Stage
from broker.guardrails.message import Message
from broker.guardrails.pseudonyms import Disguise, Hidden, Known, names_in
from broker.guardrails.restoring import all_names, restored, without_brackets
from broker.guardrails.spans import REPLACES, Verdict, resolve
from broker.model import Json

GUARD = "pseudonyms@1"
"""What records call it that found a name which stands for nothing."""
LOOK_ALIKE = "look-alike"
UNKNOWN = "unknown"

_LONGEST_PLACE = 200

About = Callable[[Verdict, str], bytes]
"""The keyed hash of the person that a text names which a guard has found; nothing if it names nobody."""


@dataclass(slots=True)
class Veil:
    """The pseudonyms of one screening.

    Args:
        armed: the guards.
        stage: where it is read.
        scene: whose it is.
        room: characters by which restoring may make it longer.
        note: records what is done.
        digest: the keyed hash of a text.
        about: whom a text names.
    """

    armed: Armed
    stage: Stage
    scene: Scene
    room: int
    note: Callable[[Finding], None]
    digest: Callable[[str], str]
    about: About
    names: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """By text: the pseudonyms that have been issued for it."""

    async def before(self, content: Json) -> Json:
        """The object as it is to be read: with values in the arguments of a tool that may have them."""
        disguise = self._disguise
        if disguise is None or self.stage not in (Stage.ARGUMENTS, Stage.RESULT):
            return content
        names = {n for n in all_names(content) if n.rpartition("_")[0] in self.armed.conduct.kinds}
        if not names:
            return content
        agent = self.scene.target.agent
        if agent is not None and self.stage is Stage.RESULT:
            await disguise.take(names, agent)
        known = await disguise.known(names)
        if self.stage is Stage.RESULT:
            return without_brackets(content, names - known.keys(), self._flag(LOOK_ALIKE))
        without_brackets(content, names - known.keys(), self._flag(UNKNOWN))  # they stay: only told
        if agent is not None:
            await disguise.share(known.keys(), agent)
        return self._restored(content, known)

    def again(self, message: Message) -> list[Verdict]:
        """Where a message holds what was restored in this call: it is hidden again, whatever rules say."""
        found: list[Verdict] = []
        disguise = self._disguise
        if disguise is None or self.stage.outward:
            return found
        for value, known in disguise.restored.items():
            self.names[value] = known.name
            at = message.lower.find(value.lower())
            while at >= 0:
                number = self._number(known.guard)
                found.append(Verdict(at, at + len(value), known.type, Action.PSEUDONYMISE, number))
                at = message.lower.find(value.lower(), at + 1)
        return found

    async def issue(self, message: Message, verdicts: Sequence[Verdict]) -> None:
        """Have pseudonyms for all that is to get one, unless nothing is passed on anyway."""
        disguise = self._disguise
        if disguise is None or not any(v.action is Action.PSEUDONYMISE for v in verdicts):
            return
        merged = resolve(verdicts)
        if any(_stops(message, verdict) for verdict in merged):
            return
        hidden = self._hidden(message, merged)
        issued = await disguise.issue(hidden, names_in(message.text))
        self.names |= issued
        if self.stage is Stage.ARGUMENTS and self.scene.target.agent is not None:
            await disguise.share(issued.values(), self.scene.target.agent)
        for value in hidden:
            name = issued.get(value.text)
            if name is not None and self.stage is Stage.PROMPT:
                disguise.said[name] = Known(name, value.guard, value.type, value.text)
            elif name is not None and not self.stage.outward:
                disguise.hidden[name] = value.text

    def after(self, content: Json) -> Json:
        """A completion in which its caller reads again what it has said itself, if a policy says so."""
        known = self.given_back()
        return restored(content, known, self.put, self.room) if known else content

    def given_back(self) -> Mapping[str, Known]:
        """By name: what may be put back into a completion."""
        if self._disguise is None or self.stage is not Stage.COMPLETION:
            return {}
        return self._allowed(self._disguise.said)

    def put(self, known: Known, place: str) -> None:
        """Record that a value was put back."""
        verdict = Verdict(0, len(known.text), known.type, Action.RESTORE, self._number(known.guard))
        person = self.about(verdict, known.text)
        self._tell(self.armed.names[verdict.guard], verdict, place, known.text, person)

    @property
    def _disguise(self) -> Disguise | None:
        return self.scene.disguise if self.armed.conduct.pseudonymises else None

    def _restored(self, content: Json, known: Mapping[str, Known]) -> Json:
        allowed = self._allowed(known)
        if self._disguise is not None:
            self._disguise.restored |= {one.text: one for one in allowed.values()}
        return restored(content, allowed, self.put, self.room)

    def _allowed(self, known: Mapping[str, Known]) -> dict[str, Known]:
        allowed = self.armed.conduct.restored(self.stage, self.scene)
        return {name: one for name, one in known.items() if (one.guard, one.type) in allowed}

    def _hidden(self, message: Message, verdicts: Sequence[Verdict]) -> list[Hidden]:
        """The values that are to be replaced. One that names nobody is about all whom the message names."""
        people: set[bytes] = set()
        found: list[tuple[Verdict, str, bytes]] = []
        for verdict in verdicts:
            if verdict.type == UNREAD:
                continue
            text = message.text[verdict.start : verdict.end]
            person = self.about(verdict, text)
            people.add(person)
            if verdict.action is Action.PSEUDONYMISE:
                found.append((verdict, text, person))
        everybody = tuple(sorted(people - {b""}))
        return [
            Hidden(self.armed.guards[v.guard].detector.name, v.type, text, (person,) if person else everybody)
            for v, text, person in found
        ]

    def _number(self, guard: str) -> int:
        """The number of a guard; the first where it is none any more."""
        names = [g.detector.name for g in self.armed.guards]
        return names.index(guard) if guard in names else 0

    def _flag(self, kind: str) -> Callable[[str, str], None]:
        verdict = Verdict(0, 0, kind, Action.FLAG, 0)
        return lambda text, place: self._tell(GUARD, verdict, place, text)

    def _tell(self, guard: str, verdict: Verdict, place: str, text: str, person: bytes = b"") -> None:
        at, length, digest = place[:_LONGEST_PLACE], len(text), self.digest(text)
        self.note(Finding(guard, self.stage, verdict.type, verdict.action, at, length, digest, person=person))


def _stops(message: Message, verdict: Verdict) -> bool:
    """Whether nothing is passed on because of it: keys and blobs cannot be rewritten."""
    passage = message.passages[message.number_at(verdict.start)] if message.passages else None
    fixed = passage is not None and (passage.is_key or passage.blob is not None)
    return verdict.action is Action.BLOCK or (fixed and verdict.action in REPLACES)
