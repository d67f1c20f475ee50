"""What does the operator want done about a finding? `policies/guardrails/*.yaml`, one file a guard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from broker.documents import Node, read_yaml
from broker.errors import ConfigurationError
from broker.guardrails.interface import Action, Detector, Reviewer, Scene, Stage
from broker.patterns import matches

_FILE_KEYS = ("guard", "mode", "unread", "ignore", "settings", "rules")
_CONDITIONS = ("stages", "direction", "tools", "labels", "roles")
_MOST_COMPILED = 10_000
_STAGES = list(Stage)


class Maker(Protocol):
    """Makes a detector out of the `settings` of its file (None: there are none)."""

    def __call__(self, settings: Node | None, /) -> Detector | Reviewer:
        """Raises ConfigurationError, with file and line."""
        ...


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is done about findings of one type: in shadow it is only flagged, `would` says what else."""

    action: Action
    would: Action | None = None
    approver: str = "operator"


Rulings = Mapping[str, Ruling]
"""By type. One that is not in it is not looked for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a file: where it holds, and what it says of types, groups or `*`."""

    stages: frozenset[Stage]
    tools: tuple[str, ...] | None
    labels: frozenset[str] | None
    roles: frozenset[str] | None
    actions: Mapping[str, Ruling]

    def holds(self, stage: Stage, scene: Scene) -> bool:
        """Whether it speaks of this place."""
        return (
            stage in self.stages
            and (self.tools is None or any(matches(glob, scene.target.name) for glob in self.tools))
            and (self.labels is None or not self.labels.isdisjoint(scene.target.labels))
            and (self.roles is None or not self.roles.isdisjoint(scene.roles))
        )

    @property
    def everywhere(self) -> bool:
        """Whether it holds for every target and every caller."""
        return self.tools is None and self.labels is None and self.roles is None


@dataclass(frozen=True, slots=True)
class Guard:
    """One detector and what is done about what it finds. `unread` is done where it fails."""

    detector: Detector | Reviewer
    rules: tuple[Rule, ...]
    ignored: frozenset[str]
    unread: Action

    @property
    def name(self) -> str:
        """Name and version, e.g. `secrets@2`."""
        return f"{self.detector.name}@{self.detector.version}"

    def rulings(self, stage: Stage, scene: Scene) -> Rulings:
        """What is done about each type here: the first rule decides that holds and speaks of it."""
        if stage not in self.detector.stages:
            return {}
        holding = [rule.actions for rule in self.rules if rule.holds(stage, scene)]
        rulings: dict[str, Ruling] = {}
        for kind, group in self.detector.types.items():
            said = (actions.get(kind) or actions.get(group) or actions.get("*") for actions in holding)
            ruling = next(filter(None, said), None)
            if ruling and ruling.action is not Action.ALLOW and kind not in self.ignored:
                rulings[kind] = ruling
        return rulings


@dataclass(frozen=True, slots=True)
class Conduct:
    """All guards of a deployment, in the order of their names."""

    guards: tuple[Guard, ...]
    _compiled: dict[object, tuple[Rulings, ...]] = field(
        default_factory=dict[object, tuple[Rulings, ...]], compare=False
    )

    def rulings(self, stage: Stage, scene: Scene) -> tuple[Rulings, ...]:
        """For each guard what is done about its findings here."""
        target = scene.target
        key = (stage, target.name, target.labels, scene.roles)
        found = self._compiled.get(key)
        if found is None:
            if len(self._compiled) >= _MOST_COMPILED:
                self._compiled.clear()
            found = self._compiled[key] = tuple(guard.rulings(stage, scene) for guard in self.guards)
        return found


def load_conduct(folder: Path, shipped: Path, makers: Mapping[str, Maker]) -> Conduct:
    """Read `guardrails/*.yaml` of a policies folder.

    Args:
        folder: the operator's policies.
        shipped: those that come with the broker; they say what is done about guards that the
            operator's say nothing of.
        makers: all guards there are, by name.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    guards = {guard.detector.name: guard for guard in _guards(shipped, makers)}
    if folder != shipped:
        guards |= {guard.detector.name: guard for guard in _guards(folder, makers)}
    return Conduct(tuple(guards[name] for name in sorted(guards)))


def _guards(folder: Path, makers: Mapping[str, Maker]) -> Iterator[Guard]:
    seen: dict[str, str] = {}
    for path in _files(folder / "guardrails"):
        place = f"{folder.name}/guardrails/{path.name}"
        root = read_yaml(path, place)
        fields = root.mapping(_FILE_KEYS, required=("guard", "rules"))
        name = fields["guard"].one_of(list(makers))
        if name in seen:
            raise fields["guard"].error(f"guard `{name}` is configured in {seen[name]} already")
        seen[name] = place
        yield _guard(root, fields, makers[name](fields.get("settings")))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.name.endswith("~"))
    for path in found:
        if path.suffix != ".yaml":
            raise ConfigurationError(
                f"{folder.parent.name}/guardrails/{path.name}:1: is no `.yaml` file",
                hint="move it elsewhere, or it would be left out without a word",
            )
    return found


def _guard(root: Node, fields: Mapping[str, Node], detector: Detector | Reviewer) -> Guard:
    types = detector.types
    shadow = _shadow(fields.get("mode"), default=False)
    rules = tuple(_rule(entry, detector, shadow=shadow) for entry in fields["rules"].items())
    ignored = frozenset(i.one_of(list(types)) for i in fields["ignore"].items()) if "ignore" in fields else ()
    unread = Action.BLOCK
    if "unread" in fields:
        unread = Action(fields["unread"].one_of([Action.BLOCK, Action.FLAG]))
    _nothing_left_open(root, rules, detector)
    return Guard(detector, rules, frozenset(ignored), unread)


def _nothing_left_open(root: Node, rules: Sequence[Rule], detector: Detector | Reviewer) -> None:
    """What is done about a group is said for everybody and every target, so that nothing is overlooked."""
    for stage in sorted(detector.stages, key=_STAGES.index):
        for kind, group in detector.types.items():
            said = (
                rule
                for rule in rules
                if rule.everywhere and stage in rule.stages
                if rule.actions.keys() & {kind, group, "*"}
            )
            if next(said, None) is None:
                raise root.error(
                    f"no rule says what is done about `{group}` in `{stage}` in general",
                    "add a last rule without conditions; `allow` is an answer too",
                )


def _rule(entry: Node, detector: Detector | Reviewer, *, shadow: bool) -> Rule:
    fields = entry.mapping((*_CONDITIONS, "mode", "approver", "do"), required=("do",))
    stages = _stages(fields, detector)
    shadow = _shadow(fields.get("mode"), default=shadow)
    approver = fields["approver"].text() if "approver" in fields else "operator"
    words = {*detector.types, *detector.types.values(), "*"}
    actions: dict[str, Ruling] = {}
    for what, node in fields["do"].pairs("`do` maps types, groups or `*` to actions"):
        action = Action(node.one_of(list(Action)))
        if action is Action.APPROVE and any(not stage.outward for stage in stages):
            raise node.error("only arguments and prompts can wait for approval", "add `direction: out`")
        quiet = shadow and action not in (Action.ALLOW, Action.FLAG)
        ruling = Ruling(Action.FLAG, action) if quiet else Ruling(action, approver=approver)
        actions[what.one_of(words)] = ruling
    return Rule(
        stages=stages,
        tools=tuple(n.text() for n in fields["tools"].items()) if "tools" in fields else None,
        labels=_texts(fields.get("labels")),
        roles=_texts(fields.get("roles")),
        actions=actions,
    )


def _stages(fields: Mapping[str, Node], detector: Detector | Reviewer) -> frozenset[Stage]:
    known = sorted(detector.stages, key=_STAGES.index)
    stages = frozenset(known)
    if "stages" in fields:
        stages = frozenset(Stage(item.one_of(known)) for item in fields["stages"].items())
    if "direction" in fields:
        outward = fields["direction"].one_of(["in", "out"]) == "out"
        stages = frozenset(stage for stage in stages if stage.outward is outward)
        if not stages:
            raise fields["direction"].error("none of the rule's stages has this direction")
    return stages


def _texts(node: Node | None) -> frozenset[str] | None:
    return None if node is None else frozenset(item.text() for item in node.items())


def _shadow(node: Node | None, *, default: bool) -> bool:
    return default if node is None else node.one_of(["enforce", "shadow"]) == "shadow"
