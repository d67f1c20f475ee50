"""A screen as it is shipped, and what it says about one object."""

from pathlib import Path

from broker.guardrails.conduct import load_conduct
from broker.guardrails.gate import Gate
from broker.guardrails.interface import Detector, Finding, Span
from broker.guardrails.message import Message, Passage
from broker.guardrails.registry import GUARDS
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.screen import Screen
from broker.model import Json, Kind, Target
from broker.policy.load import shipped_policies
from broker.settings import LimitSettings

KEY = b"k" * 32
SCENE = Scene(Target(Kind.TOOL, "notes__find", "notes", "find", {}))


def screen_of(folder: Path | None = None, limits: LimitSettings | None = None) -> Screen:
    """A screen with the shipped policies, or those of a folder on top."""
    shipped = shipped_policies()
    return Screen(limits or LimitSettings(), load_conduct(folder or shipped, shipped, GUARDS), KEY)


SCREEN = screen_of()


def screen(content: Json, stage: Stage = Stage.RESULT, scene: Scene = SCENE) -> tuple[Json, list[Finding]]:
    """What is passed on, and what was found."""
    findings: list[Finding] = []
    return SCREEN.screen_now(content, stage, scene, findings), findings


def message(*texts: str, stage: Stage = Stage.RESULT, scene: Scene = SCENE, name: str = "") -> Message:
    """Some texts as one message."""
    return Message([Passage(text, name) for text in texts], stage, scene)


def look(detector: Detector, *texts: str, name: str = "") -> list[Span]:
    """What one detector finds, in order."""
    read = message(*texts, name=name)
    (hits,) = Gate([detector]).hits(read.lower)
    return sorted(detector.detect(read, hits)) if hits or detector.always else []
