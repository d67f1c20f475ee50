"""What does the operator want done about a finding? `policies/guardrails/secrets.yaml`."""

from collections.abc import Mapping
from pathlib import Path

from broker.documents import Node, read_yaml
from broker.guardrails.formats import SecretKind
from broker.guardrails.interface import Action, Stage

_FILE = Path("guardrails") / "secrets.yaml"
_KINDS = [str(kind) for kind in SecretKind]
_STAGES = [str(stage) for stage in Stage]
_Wanted = Mapping[Stage, Mapping[SecretKind, Action]]


Actions = Mapping[Stage, Mapping[str, Action]]
"""The action for each stage and type of finding; a type that is not in it is not looked for."""


def load_conduct(policies_dir: Path, types: Mapping[str, SecretKind]) -> Actions:
    """Read the file; `types` are those that the detector knows.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    path = policies_dir / _FILE
    wanted, looked_for = DEFAULTS, types
    if path.exists():
        wanted, looked_for = _read(read_yaml(path, f"{policies_dir.name}/{_FILE.as_posix()}"), types)
    return {stage: {t: wanted[stage][kind] for t, kind in looked_for.items()} for stage in Stage}


def _read(root: Node, types: Mapping[str, SecretKind]) -> tuple[_Wanted, Mapping[str, SecretKind]]:
    fields = root.mapping(("mode", "ignore", *_STAGES), required=_STAGES)
    wanted = {stage: _actions(fields[stage]) for stage in Stage}
    if "mode" in fields and fields["mode"].one_of(["enforce", "shadow"]) == "shadow":
        wanted = {stage: dict.fromkeys(SecretKind, Action.FLAG) for stage in Stage}
    ignored = {item.one_of(list(types)) for item in fields["ignore"].items()} if "ignore" in fields else ()
    return wanted, {t: kind for t, kind in types.items() if t not in ignored}


def _actions(node: Node) -> dict[SecretKind, Action]:
    fields = node.mapping(_KINDS, required=_KINDS)
    return {kind: Action(fields[kind].one_of(list(Action))) for kind in SecretKind}


DEFAULTS: _Wanted = {
    Stage.ARGUMENTS: {
        SecretKind.KEY: Action.BLOCK,
        SecretKind.TOKEN: Action.BLOCK,
        SecretKind.ASSIGNED: Action.FLAG,
        SecretKind.SESSION: Action.FLAG,
    },
    Stage.RESULT: {
        SecretKind.KEY: Action.REDACT,
        SecretKind.TOKEN: Action.REDACT,
        SecretKind.ASSIGNED: Action.REDACT,
        SecretKind.SESSION: Action.FLAG,
    },
}
"""As shipped: what a folder without the file gets."""
