"""Does the benchmark still run, and say everything that it is to say? How fast is not asked here."""

import json
import subprocess
import sys

import pytest

from benchmarks.identity import GOALS_MS, GOALS_US, table
from tests.e2e.processes import ROOT


@pytest.mark.timeout(180)
def test_the_quick_benchmark_of_identity_prints_what_is_measured_with_its_goals() -> None:
    command = [sys.executable, "-m", "benchmarks.identity", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["endpoint_ms"]) == set(GOALS_MS)
    assert set(result["checks_us"]) >= set(GOALS_US)
    assert len(list(table(result))) == 2 + len(result["endpoint_ms"]) + len(result["checks_us"])


@pytest.mark.timeout(180)
def test_the_quick_benchmark_of_the_ledger_prints_every_difference() -> None:
    command = [sys.executable, "-m", "benchmarks.ledger", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    kinds = ("bare", "reserve_settle", "rolling", "rate")
    assert set(json.loads(done.stdout)) == {f"{kind}_{batch}" for kind in kinds for batch in (1, 32)} | {
        "gcra"
    }


CELL = {"rps", "rps_min", "rps_max", "p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_call"}


@pytest.mark.timeout(180)
def test_the_quick_benchmark_prints_every_cell() -> None:
    command = [sys.executable, "-m", "benchmarks.call", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for target in ("direct", "relay", "broker"):
        assert {c: set(cell) for c, cell in result[target].items()} == {"1": CELL, "8": CELL, "32": CELL}
        assert result["pss_mib"][target] > 0
    assert set(result["broker_per_relay_rps"]) == {"1", "8", "32"}
    assert result["tools_list_500"]["p50_ms"] > 0
    assert result["at_rest"]["token"]["p50_ms"] > 0
    assert set(result["at_rest"]) == {"start_s", "pss_mib", "token", "help_ms"}


def test_the_quick_benchmark_of_policies_measures_all_that_has_a_goal() -> None:
    command = [sys.executable, "-m", "benchmarks.policy", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["goals_ms"].keys() <= result["ms"].keys()
    assert all(value > 0 for value in result["ms"].values())


@pytest.mark.timeout(180)
def test_the_quick_benchmark_of_models_measures_what_a_stream_costs() -> None:
    command = [sys.executable, "-m", "benchmarks.models", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert all(result[name]["first_event_ms"] > 0 for name in ("direct", "relay", "broker"))
    assert set(result["broker"]) == {"first_event_ms", "first_text_ms", "chunk_us"}
