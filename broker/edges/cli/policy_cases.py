"""Do the policies decide as was meant? `broker policy test` runs the tests that lie beside them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from broker.edges.cli.composition import configured
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import (
    Known,
    Policies,
    folder_of,
    known_targets,
    loaded_policies,
    target_of,
)
from broker.errors import ConfigurationError
from broker.model import Json

if TYPE_CHECKING:
    from broker.policy.cases import Result


def run_tests(policies: Policies = None, config: Config = None, as_json: AsJson = False) -> None:
    """Run the tests in `tests/*.yaml` of the policies. Exits with 1 if one fails, or if there are none."""
    from broker.policy.cases import load_cases, run_cases

    settings = configured(config).settings
    folder = folder_of(policies, settings)
    loaded_policies(folder)
    known = known_targets(settings, folder)
    cases = load_cases(folder, target_of(known, folder))
    if not cases:
        raise ConfigurationError(
            f"{folder}: holds no tests", hint="write some into `tests/*.yaml`: docs/policies-tools.md"
        )
    results = run_cases(folder, cases)
    output = Output(as_json=as_json)
    output.item(_data(results, known), "\n".join(_lines(results, output.ink)))
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def _lines(results: "Sequence[Result]", ink: Ink) -> Iterator[str]:
    failed = [result for result in results if not result.passed]
    for result in failed:
        case = result.case
        yield visible(f"{case.place}: {case.name}")
        yield f"  expected {_said(case.expect, case.rules)}"
        yield ink("red", f"  got      {_said(result.verdict, result.rules)}")
        yield from (visible(f"           {b.rule}: {b.text}") for b in result.decision.because)
        yield ""
    passed = len(results) - len(failed)
    text = f"{passed} passed" + (f", {len(failed)} failed" if failed else "")
    yield ink("red" if failed else "green", text)


def _said(verdict: str, rules: Iterable[str] | None) -> str:
    if rules is None:
        return verdict
    names = ", ".join(f"`{rule}`" for rule in sorted(rules)) or "no rule"
    return f"{verdict} by {names}"


def _data(results: "Sequence[Result]", known: Known) -> Json:
    return {
        "ok": all(result.passed for result in results),
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "catalogue": known.noted_at,
        "tests": [
            {
                "place": result.case.place,
                "name": result.case.name,
                "passed": result.passed,
                "expected": result.case.expect,
                "expected_rules": None if result.case.rules is None else sorted(result.case.rules),
                "verdict": result.verdict,
                "rules": result.rules,
            }
            for result in results
        ],
    }
