"""What does the operator want done about a finding? `policies/guardrails/*.yaml`, one file a guard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from broker.documents import Node, read_yaml
from broker.errors import ConfigurationError
from broker.guardrails.interface import Action, Detector, Reviewer, Scene, Stage
from broker.guardrails.pseudonyms import kind_of
from broker.patterns import matches

_FILE_KEYS = ("guard", "mode", "unread", "ignore", "settings", "rules")
_CONDITIONS = ("stages", "direction", "tools", "labels", "roles")
_MOST_COMPILED = 10_000
_SAYABLE = [action for action in Action if action is not Action.RESTORE]

RESTORING = frozenset({Stage.ARGUMENTS, Stage.COMPLETION})
"""Where pseudonyms may be replaced by what they stand for: what a tool is given, what a model answers."""
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
    restored: frozenset[str] | None = None
    """Types, groups or `*` whose pseudonyms are replaced by their values here; None: it does not say."""

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
        put_in = self.restored(stage, scene) if stage is Stage.ARGUMENTS else frozenset[str]()
        rulings: dict[str, Ruling] = {}
        for kind, group in self.detector.types.items():
            said = (actions.get(kind) or actions.get(group) or actions.get("*") for actions in holding)
            ruling = next(filter(None, said), None)
            if ruling and ruling.action is Action.PSEUDONYMISE and kind in put_in:
                ruling = Ruling(Action.FLAG)  # what was just put in is not taken out again
            if ruling and ruling.action is not Action.ALLOW and kind not in self.ignored:
                rulings[kind] = ruling
        return rulings

    def restored(self, stage: Stage, scene: Scene) -> frozenset[str]:
        """The types whose pseudonyms are replaced here. A rule that restores nothing ends the list."""
        if stage not in RESTORING:
            return frozenset()
        words: set[str] = set()
        for rule in self.rules:
            if rule.restored is not None and rule.holds(stage, scene):
                words |= rule.restored
                if not rule.restored:
                    break
        types = self.detector.types.items()
        return frozenset(kind for kind, group in types if not words.isdisjoint({kind, group, "*"}))


@dataclass(frozen=True)
class Conduct:
    """All guards of a deployment, in the order of their names."""

    guards: tuple[Guard, ...]
    _compiled: dict[object, tuple[Rulings, ...]] = field(
        default_factory=dict[object, tuple[Rulings, ...]], compare=False
    )

    @cached_property
    def pseudonymises(self) -> bool:
        """Whether any rule asks for pseudonyms, or has them restored."""
        rules = [rule for guard in self.guards for rule in guard.rules]
        return any(
            rule.restored or any(ruling.action is Action.PSEUDONYMISE for ruling in rule.actions.values())
            for rule in rules
        )

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What pseudonyms begin with."""
        return frozenset(kind_of(found) for guard in self.guards for found in guard.detector.types)

    def restored(self, stage: Stage, scene: Scene) -> frozenset[tuple[str, str]]:
        """The guards and types whose pseudonyms are replaced by what they stand for here."""
        if stage not in RESTORING or not self.pseudonymises:
            return frozenset()
        return frozenset((g.detector.name, kind) for g in self.guards for kind in g.restored(stage, scene))

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
    fields = entry.mapping((*_CONDITIONS, "mode", "approver", "do", "restore"))
    if not fields.keys() & {"do", "restore"}:
        raise entry.error("the rule says nothing", "add `do`, or `restore`")
    stages = _stages(fields, detector)
    shadow = _shadow(fields.get("mode"), default=shadow)
    approver = fields["approver"].text() if "approver" in fields else "operator"
    words = {*detector.types, *detector.types.values(), "*"}
    actions: dict[str, Ruling] = {}
    said = fields["do"].pairs("`do` maps types, groups or `*` to actions") if "do" in fields else ()
    for what, node in said:
        action = Action(node.one_of(_SAYABLE))
        if action is Action.PSEUDONYMISE and stages <= {Stage.DEFINITION}:
            raise node.error("a definition belongs to no transaction", "`redact` it")
        if action is Action.APPROVE and any(not stage.outward for stage in stages):
            raise node.error("only arguments and prompts can wait for approval", "add `direction: out`")
        quiet = shadow and action not in (Action.ALLOW, Action.FLAG)
        ruling = Ruling(Action.FLAG, action) if quiet else Ruling(action, approver=approver)
        actions[what.one_of(words)] = ruling
    restored = _restored(fields, stages, words) if "restore" in fields else None
    return Rule(
        stages=stages,
        tools=tuple(n.text() for n in fields["tools"].items()) if "tools" in fields else None,
        labels=_texts(fields.get("labels")),
        roles=_texts(fields.get("roles")),
        actions=actions,
        restored=None if shadow else restored,
    )


def _restored(fields: Mapping[str, Node], stages: frozenset[Stage], words: set[str]) -> frozenset[str]:
    """What a rule restores: in arguments of tools that it names, and in what models answer."""
    node = fields["restore"]
    if not stages <= RESTORING:
        raise node.error("only arguments and completions are restored", "add `stages: [arguments]`")
    if Stage.ARGUMENTS in stages and not fields.keys() & {"tools", "labels"}:
        raise node.error("which tools may read the values?", "add `tools` or `labels`")
    return frozenset(item.one_of(sorted(words)) for item in node.items())


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
