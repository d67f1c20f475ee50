"""Is this content safe to pass on? Every text is read once, findings are acted on, and doubt is a no."""

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import anyio
import anyio.to_thread

from broker.errors import Because, Blocked, BrokerError
from broker.guardrails import walk
from broker.guardrails.armed import UNREAD, Armed
from broker.guardrails.conduct import Conduct, Rulings
from broker.guardrails.fit import fits
from broker.guardrails.interface import FURTHER, Action, Finding, Scene, Stage, Writing
from broker.guardrails.message import Message, Passage, Path
from broker.guardrails.personal.detector import NAMES_A_PERSON, PERSONAL
from broker.guardrails.restoring import RestoredText
from broker.guardrails.spans import REPLACES, Verdict, resolve, rewritten
from broker.guardrails.streams import ScreenedText
from broker.guardrails.veil import Veil
from broker.model import Json
from broker.settings import LimitSettings

INLINE_BYTES = 32 << 10
"""What is larger is read in another thread, so that other calls go on meanwhile."""

LARGE_WITHIN_S = 5.0
"""What is large has to be read within this time, or it is not read at all."""

Handle = Callable[[str], bytes]

_TAKES_OUT = REPLACES | {Action.BLOCK}
_THREADS = 2
_MOST_FINDINGS = 64
_LONGEST_PLACE = 200
_MOST_ROUNDS = 4


@dataclass(slots=True)
class _Reading:
    """One screening under way."""

    armed: Armed
    stage: Stage
    scene: Scene
    findings: list[Finding]
    rulings: Sequence[Rulings]
    limits: walk.Limits
    veil: Veil
    blocked: list[Because] = field(default_factory=list[Because])
    safe_keys: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def what(self) -> str:
        return f"{self.stage} of `{self.scene.target.name}`"

    def look(self, message: Message) -> list[Verdict]:
        return self.armed.look(message, self.rulings) + self.veil.again(message)


class Screen:
    """Implements the port `Guards`.

    Args:
        limits: sizes and depth above which nothing is read.
        conduct: the guards and what is done about what they find.
        digest_key: keys the digests of findings; 256 random bits of this deployment.
        handle: the keyed hash by which a person is found again, of what names them.
    """

    def __init__(
        self, limits: LimitSettings, conduct: Conduct, digest_key: bytes, handle: Handle | None = None
    ) -> None:
        self._handle = handle
        self._limits = dict.fromkeys(Stage, walk.Limits(limits.result_bytes, limits.depth))
        self._limits[Stage.ARGUMENTS] = walk.Limits(limits.argument_bytes, limits.depth)
        self._mac = hmac.new(digest_key, digestmod="sha256")
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._armed = Armed(conduct)
        self._excepted: frozenset[tuple[str, str]] = frozenset()

    def adopt(self, conduct: Conduct) -> None:
        """Put another conduct in force, for every screening that begins from now on."""
        self._armed = Armed(conduct)

    def except_from(self, excepted: frozenset[tuple[str, str]]) -> None:
        """Find nothing in some texts any more: each is a guard and the digest of what it found."""
        self._excepted = excepted

    async def screen(self, content: Json, stage: Stage, scene: Scene, findings: list[Finding]) -> Json:
        """See `Guards.screen`."""
        reading = self._begin(stage, scene, findings)
        try:
            content = _fitting(await reading.veil.before(content), content, reading)
            return reading.veil.after(await self._screen(content, reading))
        except BrokerError:
            raise
        except Exception as error:  # what cannot be read is not passed on, whatever the reason
            raise self._unreadable(error, reading) from error

    def screen_now(self, content: Json, stage: Stage, scene: Scene, findings: list[Finding]) -> Json:
        """`screen` without reviewers and without another thread, for synchronous callers with little content.

        Raises:
            Blocked: as `screen`.
        """
        reading = self._begin(stage, scene, findings)
        try:
            message, verdicts = self._read(content, reading)
            return self._act(content, message, verdicts, reading) if verdicts else content
        except Blocked:
            raise
        except Exception as error:
            raise self._unreadable(error, reading) from error

    def stream(self, stage: Stage, scene: Scene, findings: list[Finding]) -> Writing:
        """Screen a text while it is being written. A reviewer does not read streams: its file says what then.

        What would get a new pseudonym is redacted: none can be kept while a text is under way.

        Raises:
            Blocked: a reviewer is in force whose file says to pass nothing on that it has not read.
        """
        reading = self._begin(stage, scene, findings)
        unread = [reading.armed.unread(n) for n, _ in reading.armed.reviewers if reading.rulings[n]]
        self._settle(reading, "", unread)
        size = reading.limits.size
        text = ScreenedText(partial(self._look_at, reading), partial(self._settle, reading), size)
        known = reading.veil.given_back()
        return RestoredText(text, known, reading.veil.put, size) if known else text

    def _look_at(self, reading: _Reading, text: str) -> Sequence[Verdict]:
        try:
            return reading.look(Message([Passage(text, step="text")], reading.stage, reading.scene))
        except Exception as error:
            raise self._unreadable(error, reading) from error

    def _settle(self, reading: _Reading, text: str, verdicts: Sequence[Verdict]) -> str:
        """Record what was found in a piece of a stream; the piece as it may be passed on."""
        piece = Message([Passage(text, step="text")], reading.stage, reading.scene)
        changed = self._rewrite(piece, verdicts, reading)
        if reading.blocked:
            raise _refusal(reading)
        return changed[0].value if changed else text

    def _begin(self, stage: Stage, scene: Scene, findings: list[Finding]) -> _Reading:
        armed = self._armed
        rulings = armed.conduct.rulings(stage, scene)
        limits = self._limits[stage]
        about = partial(self._named, armed)
        veil = Veil(armed, stage, scene, limits.size, partial(_note, findings), self._digest, about)
        return _Reading(armed, stage, scene, findings, rulings, limits, veil)

    async def _screen(self, content: Json, reading: _Reading) -> Json:
        armed, large = reading.armed, False
        inline = walk.Limits(min(reading.limits.size, INLINE_BYTES), reading.limits.depth)
        try:
            message = walk.gather(content, inline, reading.stage, reading.scene)
            verdicts = reading.look(message)
        except walk.TooLargeError:
            if inline == reading.limits:
                raise
            large = True
            message, verdicts = await anyio.to_thread.run_sync(
                partial(self._read, content, reading, within_s=LARGE_WITHIN_S), limiter=self._threads
            )
        if armed.reviewers:
            verdicts += await armed.review(message, verdicts, reading.rulings)
        if not verdicts:
            return content
        await reading.veil.issue(message, [v for v in verdicts if not self._is_excepted(message, v, reading)])
        if large:
            return await anyio.to_thread.run_sync(
                self._act, content, message, verdicts, reading, limiter=self._threads
            )
        return self._act(content, message, verdicts, reading)

    def _read(
        self, content: Json, reading: _Reading, *, within_s: float | None = None
    ) -> tuple[Message, list[Verdict]]:
        message = walk.gather(content, reading.limits, reading.stage, reading.scene)
        message.deadline = None if within_s is None else time.monotonic() + within_s
        return message, reading.look(message)

    def _act(self, content: Json, message: Message, verdicts: Sequence[Verdict], reading: _Reading) -> Json:
        """Record what was found, and rewrite until nothing is found any more that may not be passed on."""
        changes: dict[Path, str] = {}
        for _ in range(_MOST_ROUNDS):
            changed = self._rewrite(message, resolve(verdicts), reading)
            if reading.blocked:
                raise _refusal(reading)
            if not changed:
                break
            changes |= {passage.path: passage.value for passage in changed}
            message = Message(changed, reading.stage, reading.scene)
            verdicts = reading.armed.look_again(message, reading.rulings)
        else:
            raise ValueError("redacting does not come to an end")
        if not changes:
            return content
        return _fitting(walk.replaced(content, changes), content, reading)

    def _rewrite(self, message: Message, verdicts: Sequence[Verdict], reading: _Reading) -> list[Passage]:
        """Record the verdicts; the passages that are others now."""
        by_passage: dict[int, list[Verdict]] = {}
        for verdict in verdicts:
            if verdict.type == UNREAD:
                self._record_unread(verdict, reading)
            elif not self._is_excepted(message, verdict, reading):
                by_passage.setdefault(message.number_at(verdict.start), []).append(verdict)
        changed: list[Passage] = []
        for number, here in by_passage.items():
            passage, start = message.passages[number], message.starts[number]
            moved = [_moved(v, start, passage, reading.veil.names) for v in here]
            place = self._place(passage, reading)
            for verdict in moved:
                self._record(passage, place, verdict, reading)
            if not (passage.is_key or passage.blob) and any(v.action in REPLACES for v in moved):
                value = rewritten(passage.value, moved, partial(_instead, reading.veil.names))
                changed.append(replace(passage, value=value))
        return changed

    def _is_excepted(self, message: Message, verdict: Verdict, reading: _Reading) -> bool:
        if not self._excepted or verdict.type == UNREAD:
            return False
        guard = reading.armed.conduct.guards[verdict.guard].detector.name
        number = message.number_at(verdict.start)
        start = message.starts[number]
        text = _meant(message.passages[number], verdict.start - start, verdict.end - start)
        return (guard, self._digest(text)) in self._excepted

    def _record(self, passage: Passage, place: str, verdict: Verdict, reading: _Reading) -> None:
        """What cannot be rewritten is blocked: a key without changing what the object means, and a blob."""
        fixed = passage.is_key or passage.blob is not None
        action = Action.BLOCK if fixed and verdict.action in REPLACES else verdict.action
        text = _meant(passage, verdict.start, verdict.end)
        ruling = reading.rulings[verdict.guard].get(verdict.type)
        finding = Finding(
            guard=reading.armed.names[verdict.guard],
            stage=reading.stage,
            type=verdict.type,
            action=action,
            place=place,
            length=len(text),
            digest=self._digest(text),
            would=verdict.would,
            via=verdict.via,
            approver=ruling.approver if ruling and action is Action.APPROVE else "",
            person=b"" if action in _TAKES_OUT else self._named(reading.armed, verdict, text),
        )
        _note(reading.findings, finding)
        if action is Action.BLOCK:
            reading.blocked.append(Because(finding.rule, f"at `{place}`"))

    def _record_unread(self, verdict: Verdict, reading: _Reading) -> None:
        guard = reading.armed.names[verdict.guard]
        finding = Finding(guard, reading.stage, UNREAD, verdict.action, "", 0, "")
        _note(reading.findings, finding)
        if verdict.action is Action.BLOCK:
            reading.blocked.append(Because(finding.rule, "the guard failed"))

    def _unreadable(self, error: Exception, reading: _Reading) -> Blocked:
        _note(reading.findings, Finding("screen", reading.stage, UNREAD, Action.BLOCK, "", 0, ""))
        if isinstance(error, walk.TooBigError):
            return Blocked(f"{reading.what}: {error}", hint="ask for less, or in smaller parts")
        return Blocked(
            f"{reading.what} could not be screened",
            hint="nothing was passed on; it may hold bytes that are not text",
        )

    def _named(self, armed: Armed, verdict: Verdict, text: str) -> bytes:
        """Whom a text names that a guard has found, as a keyed hash; nothing where it names nobody."""
        detector = armed.guards[verdict.guard].detector
        if self._handle is None or detector.name != PERSONAL:
            return b""
        return self._handle(text) if detector.types.get(verdict.type) in NAMES_A_PERSON else b""

    def _digest(self, value: str) -> str:
        # Not `hmac.digest`: that lets go of the interpreter lock, which costs more than the hash.
        mac = self._mac.copy()
        mac.update(value.encode())
        return mac.hexdigest()

    def _place(self, passage: Passage, reading: _Reading) -> str:
        """The JSON pointer (RFC 6901) of a passage, without what may not be read of the keys on the way."""
        steps = [self._safe(str(step), reading) for step in passage.path]
        return "".join(f"/{s.replace('~', '~0').replace('/', '~1')}" for s in steps)[:_LONGEST_PLACE]

    def _safe(self, key: str, reading: _Reading) -> str:
        if len(key) < walk.SHORTEST_KEY or (
            key.isascii() and key.replace("_", "").isalpha() and len(key) < 32
        ):
            return key  # nothing that is found in so short a text has letters only
        if key not in reading.safe_keys:
            found = reading.look(Message([Passage(key)], reading.stage, reading.scene))
            stretches = [replace(v, action=Action.REDACT) for v in found if v.type != UNREAD]
            reading.safe_keys[key] = rewritten(key, resolve(stretches), _label)
        return reading.safe_keys[key]


def _meant(passage: Passage, start: int, end: int) -> str:
    """What a finding is about: a stretch of the text, or all of a blob."""
    return passage.blob.data if passage.blob else passage.value[start:end]


def _label(verdict: Verdict, _: str) -> str:
    return f"[redacted:{verdict.type}]"


def _instead(names: Mapping[str, str], verdict: Verdict, text: str) -> str:
    return f"<{names[text]}>" if verdict.action is Action.PSEUDONYMISE else _label(verdict, text)


def _moved(verdict: Verdict, start: int, passage: Passage, names: Mapping[str, str]) -> Verdict:
    """A verdict in the offsets of its passage. Where there is no pseudonym for a text, it is redacted."""
    first, end = verdict.start - start, verdict.end - start
    unnamed = verdict.action is Action.PSEUDONYMISE and passage.value[first:end] not in names
    return replace(verdict, start=first, end=end, action=Action.REDACT if unnamed else verdict.action)


def _note(findings: list[Finding], finding: Finding) -> None:
    """Add a finding. Beyond a number of them only that there are more: records are bounded.

    One that asks for consent is never left out: what is not in the list is not asked.
    """
    if len(findings) < _MOST_FINDINGS or finding.action is Action.APPROVE:
        findings.append(finding)
    elif len(findings) == _MOST_FINDINGS:
        findings.append(replace(finding, type=FURTHER))


def _fitting(safe: Json, content: Json, reading: _Reading) -> Json:
    """A result that was changed, if it still keeps its tool's promise."""
    changed = safe is not content and reading.stage is Stage.RESULT
    if changed and not fits(safe, reading.scene.target):
        raise Blocked(
            f"{reading.what}: without what a guard takes out it does not fit its `outputSchema`",
            hint="ask an operator: the finding is in the record of this call",
        )
    return safe


def _refusal(reading: _Reading) -> Blocked:
    rules = sorted({because.rule for because in reading.blocked})
    hint = None
    if any(rule.startswith("secrets/") for rule in rules) and reading.stage is Stage.ARGUMENTS:
        hint = "leave the secret out; an operator gives credentials to a connector in its settings"
    return Blocked(f"{reading.what}: {', '.join(rules)}", because=reading.blocked[:10], hint=hint)
