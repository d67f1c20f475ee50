"""Does everything that passes the official conformance suite directly pass it through the broker?"""

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conformance import Row, Score, compare, report

SCENARIOS = 33 + 50  # 40 and ten about tasks
"""What version 0.2.0-alpha.12 of the suite runs for the two revisions, scored or not."""


@pytest.mark.timeout(300)
def test_whatever_the_upstream_passes_is_passed_through_the_broker(tmp_path: Path) -> None:
    rows = compare(tmp_path)
    assert len(rows) == SCENARIOS
    assert not [str(row) for row in rows if row.is_crooked], "the upstream itself must pass"
    assert not any(row.is_lost for row in rows), "\n".join(report(rows))


def test_a_check_that_fails_behind_the_broker_only_is_lost() -> None:
    assert row(direct={"SUCCESS": 2}, through={"SUCCESS": 1, "FAILURE": 1}).is_lost
    assert row(direct={"SUCCESS": 2}, through={"SUCCESS": 1, "WARNING": 1}).is_lost


def test_a_check_that_is_no_longer_made_behind_the_broker_is_lost() -> None:
    assert row(direct={"SUCCESS": 2}, through={"SUCCESS": 1, "SKIPPED": 1}).is_lost
    assert row(direct={"SUCCESS": 2}, through={}).is_lost


def test_what_the_upstream_itself_does_not_offer_is_not_lost() -> None:
    assert not row("tasks-lifecycle", direct={"FAILURE": 1}, through={"FAILURE": 1}).is_lost
    assert not row("tasks-lifecycle", direct={"FAILURE": 1}, through={"FAILURE": 1}).is_crooked
    assert row("tools-list", direct={"FAILURE": 1}, through={"FAILURE": 1}).is_crooked


def row(scenario: str = "tools-list", *, direct: dict[str, int], through: dict[str, int]) -> Row:
    return Row("2026-07-28", scenario, Score(Counter(direct)), Score(Counter(through)))
