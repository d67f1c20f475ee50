"""Is this content safe to pass on? Every text is read, secrets are acted on, and doubt is a no."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.errors import Because, Blocked
from broker.guardrails import walk
from broker.guardrails.conduct import Actions, load_conduct
from broker.guardrails.interface import Action, Finding, Stage
from broker.guardrails.secrets import Secrets
from broker.guardrails.spans import Verdict, redacted, resolve
from broker.model import Json, Target
from broker.settings import LimitSettings

_SHORTEST_SECRET = 8
_SHORTEST_KEY = 20
_MOST_FINDINGS = 64
_LONGEST_PLACE = 200
_MOST_ROUNDS = 4


@dataclass(slots=True)
class _Reading:
    """One screening under way."""

    stage: Stage
    findings: list[Finding]
    actions: Mapping[str, Action]
    frames: list[walk.Frame] = field(default_factory=list[walk.Frame])
    changes: dict[walk.Path, str] = field(default_factory=dict[walk.Path, str])
    blocked: list[Because] = field(default_factory=list[Because])


class Screen:
    """Implements the port `Guards`.

    Args:
        limits: sizes and depth above which nothing is read.
        policies_dir: the folder whose `guardrails/secrets.yaml` says what is done about secrets.
        digest_key: keys the digests of findings; 256 random bits of this deployment.

    Raises:
        ConfigurationError: the file holds a mistake.
    """

    def __init__(self, limits: LimitSettings, policies_dir: Path, digest_key: bytes) -> None:
        self._secrets = Secrets()
        self._actions = self.read_conduct(policies_dir)
        self._limits = {
            Stage.ARGUMENTS: walk.Limits(limits.argument_bytes, limits.depth),
            Stage.RESULT: walk.Limits(limits.result_bytes, limits.depth),
        }
        self._digest_key = digest_key

    def read_conduct(self, policies_dir: Path) -> Actions:
        """What the operator wants done about findings, to be given to `adopt`.

        Raises:
            ConfigurationError: the file holds a mistake.
        """
        return load_conduct(policies_dir, self._secrets.types)

    def adopt(self, conduct: Actions) -> None:
        """Put another conduct in force, for every screening that begins from now on."""
        self._actions = conduct

    def screen(self, content: Json, stage: Stage, target: Target, findings: list[Finding]) -> Json:
        """See `Guards.screen`."""
        reading = _Reading(stage, findings, self._actions[stage])
        what = f"{stage} of `{target.name}`"
        try:
            self._read(content, reading)
        except walk.TooBigError as error:
            self._unread(reading)
            raise Blocked(f"{what}: {error}", hint="ask for less, or in smaller parts") from error
        except Exception as error:  # what cannot be read is not passed on, whatever the reason
            self._unread(reading)
            raise Blocked(
                f"{what} could not be screened",
                hint="nothing was passed on; it may hold bytes that are not text",
            ) from error
        if reading.blocked:
            raise _refusal(what, reading)
        return walk.replaced(content, reading.changes) if reading.changes else content

    def _read(self, content: Json, reading: _Reading) -> None:
        limits, detect = self._limits[reading.stage], self._secrets.detect
        for text in walk.texts(content, limits, reading.frames, media=reading.stage is Stage.RESULT):
            if len(text.value) < (_SHORTEST_KEY if text.is_key else _SHORTEST_SECRET):
                continue
            spans = detect(text.value, text.name)
            if spans:
                self._act(text, resolve(spans, reading.actions), reading)

    def _act(self, text: walk.Text, verdicts: Sequence[Verdict], reading: _Reading) -> None:
        """Record what was found in one text, and rewrite it until nothing is found in it any more."""
        value = text.value
        for _ in range(_MOST_ROUNDS):
            for verdict in verdicts:
                self._record(value, verdict, text, reading)
            if text.is_key or all(verdict.action is Action.FLAG for verdict in verdicts):
                break
            value = redacted(value, verdicts)
            again = resolve(self._secrets.detect(value, text.name), reading.actions)
            verdicts = [verdict for verdict in again if verdict.action is not Action.FLAG]
        else:
            raise ValueError("redacting does not come to an end")
        if value != text.value:
            reading.changes[walk.path_of(reading.frames)] = value

    def _record(self, value: str, verdict: Verdict, text: walk.Text, reading: _Reading) -> None:
        """A key cannot be rewritten without changing what the object means, so it is blocked."""
        redacts_key = text.is_key and verdict.action is Action.REDACT
        action = Action.BLOCK if redacts_key else verdict.action
        secret, place = value[verdict.start : verdict.end], self._place(reading.frames)
        guard, digest = self._secrets.name, self._digest(secret)
        finding = Finding(guard, reading.stage, verdict.type, action, place, len(secret), digest)
        self._note(reading, finding)
        if action is Action.BLOCK:
            reading.blocked.append(Because(f"secrets/{verdict.type}", f"at `{place}`"))

    def _note(self, reading: _Reading, finding: Finding) -> None:
        """Add a finding. Beyond a number of them only that there are more: records are bounded."""
        if len(reading.findings) < _MOST_FINDINGS:
            reading.findings.append(finding)
        elif len(reading.findings) == _MOST_FINDINGS:
            reading.findings.append(replace(finding, type="further-findings"))

    def _unread(self, reading: _Reading) -> None:
        self._note(
            reading, Finding(self._secrets.name, reading.stage, "not-scanned", Action.BLOCK, "", 0, "")
        )

    def _digest(self, value: str) -> str:
        return hmac.new(self._digest_key, value.encode(), hashlib.sha256).hexdigest()

    def _place(self, frames: Sequence[walk.Frame]) -> str:
        """The JSON pointer (RFC 6901) of where the walk is, without secrets that stand in keys."""
        steps = [self._without_secrets(str(frame.at)) for frame in frames]
        return "".join(f"/{s.replace('~', '~0').replace('/', '~1')}" for s in steps)[:_LONGEST_PLACE]

    def _without_secrets(self, key: str) -> str:
        found = self._secrets.detect(key) if len(key) >= _SHORTEST_KEY else []
        return redacted(key, resolve(found, dict.fromkeys(self._secrets.types, Action.REDACT)))


def _refusal(what: str, reading: _Reading) -> Blocked:
    types = sorted({because.rule.partition("/")[2] for because in reading.blocked})
    hint = None
    if reading.stage is Stage.ARGUMENTS:
        hint = "leave the secret out; an operator gives credentials to a connector in its settings"
    return Blocked(f"{what}: a secret ({', '.join(types)})", because=reading.blocked[:10], hint=hint)
