"""Do the policies hold together? `broker policy check` loads them as the server does."""

from pathlib import Path
from typing import TYPE_CHECKING

from broker.edges.cli.app import noun
from broker.edges.cli.composition import configured, policies_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

if TYPE_CHECKING:
    from broker.policy.engine import PolicyEngine

app = noun("Policies: check.")


@app.command()
def check(config: Config = None, as_json: AsJson = False) -> None:
    """Read, compile and validate all policy files; a mistake is shown with file and line."""
    folder = policies_of(configured(config).settings)
    engine = loaded_policies(folder)
    roles = sorted(engine.roles)
    Output(as_json=as_json).item(
        {"ok": True, "folder": str(folder), "version": engine.version, "roles": roles},
        f"{folder}: no mistakes\nroles    {', '.join(roles)}\nversion  {engine.version}",
    )


def loaded_policies(folder: Path) -> "PolicyEngine":
    """Every part of a policies folder, read as the server reads it: roles, rules, facts and guards.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    from broker.catalog.facts import load_facts
    from broker.guardrails.conduct import load_conduct
    from broker.guardrails.registry import GUARDS
    from broker.policy.engine import PolicyEngine
    from broker.policy.load import shipped_policies

    engine = PolicyEngine(folder)
    load_facts(folder)
    load_conduct(folder, shipped_policies(), GUARDS)
    return engine
