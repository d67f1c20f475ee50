"""Does the official suite find that tokens are asked for and given as the specification wants it?"""

from pathlib import Path

import pytest

from tests.e2e.conformance_oauth import (
    CLIENT_RUNS,
    EXPECTED,
    SERVER_RUNS,
    Check,
    client_checks,
    server_checks,
)
from tests.e2e.processes import ROOT


@pytest.mark.parametrize(("kind", "scenario"), CLIENT_RUNS)
def test_clients_with_credentials_of_their_own_pass(tmp_path: Path, kind: str, scenario: str) -> None:
    checks = client_checks(tmp_path, kind, scenario)
    assert len(checks) >= 2
    assert [str(check) for check in checks if check.is_wrong] == []


def test_the_authorization_server_passes_but_for_what_is_listed(tmp_path: Path) -> None:
    checks = list(server_checks(tmp_path))
    assert {check.scenario for check in checks} == set(SERVER_RUNS)
    assert [str(check) for check in checks if check.is_wrong] == []


def test_what_is_excused_and_passes_is_wrong_as_is_what_fails_without_an_excuse() -> None:
    def check(*, passed: bool, excuse: str | None) -> Check:
        return Check("server", "scenario", "check", passed, excuse=excuse)

    assert check(passed=False, excuse=None).is_wrong
    assert check(passed=True, excuse="because").is_wrong
    assert not check(passed=True, excuse=None).is_wrong
    assert not check(passed=False, excuse="because").is_wrong


def test_every_excuse_stands_in_the_documentation() -> None:
    page = " ".join((ROOT / "docs" / "reference" / "conformance.md").read_text("utf-8").split())
    for scenario, excuses in EXPECTED.items():
        assert f"`{scenario}`" in page
        assert [reason for reason in excuses.values() if " ".join(reason.split()) not in page] == []
