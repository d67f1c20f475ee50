"""What does a role come to? `broker policy show` prints the Cedar that is in force for it."""

from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import configured
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import Policies, folder_of, loaded_policies
from broker.errors import UnknownTarget

if TYPE_CHECKING:
    from broker.policy.rules import Rule

Name = Annotated[
    str | None, typer.Argument(metavar="[ROLE|RULE]", help="A role, or the id of a rule [default: all].")
]


def show(
    name: Name = None, *, policies: Policies = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Print roles and rules as the Cedar policies that decide, each under its file and line."""
    from broker.documents import did_you_mean

    engine = loaded_policies(folder_of(policies, configured(config).settings))
    chosen = [
        rule
        for rule in engine.rules
        if name in (None, rule.id) or (rule.allowance is not None and rule.allowance.role == name)
    ]
    if not chosen and name is not None and name not in engine.roles:
        known = {*engine.roles, *(rule.id for rule in engine.rules)}
        raise UnknownTarget(f"there is no role or rule `{name}`", hint=did_you_mean(name, known))
    data = [
        {"id": rule.id, "place": rule.place, "cedar": rule.cedar, "patterns": _patterns(rule)}
        for rule in chosen
    ]
    text = [f"// {rule.place}\n{_meant(rule)}{rule.cedar}" for rule in chosen]
    Output(as_json=as_json).item(data, "\n\n".join(text) or f"// role `{name}` allows nothing")


def _patterns(rule: "Rule") -> list[str]:
    """What the selection of a role's entry means: patterns are data, not policy text."""
    return [] if rule.allowance is None else [pattern.glob for pattern in rule.allowance.patterns]


def _meant(rule: "Rule") -> str:
    if rule.allowance is None:
        return ""
    return f'// Selection::"{rule.id}" is whatever matches {", ".join(_patterns(rule))}\n'
