"""What is measured in one cell? Calls per second, latency, and what the server under test paid for it."""

import json
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from types import TracebackType
from typing import Any, Self

from benchmarks.process import Server
from benchmarks.wire import Template

Sample = dict[str, float]


class Load:
    """The load client: one process for the whole run, one job after the other."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.load"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=10)

    def run(self, job: dict[str, Any]) -> Sample:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        result = json.loads(line) if line else {"error": "the load client has ended"}
        if "error" in result:
            raise SystemExit(f"POST {job['path']} on port {job['port']}: {result['error']}")
        return result


class Target:
    """One server that the same request goes to."""

    def __init__(self, server: Server, template: Template) -> None:
        self.server = server
        self.template = template

    def measure(self, load: Load, *, calls: int, concurrency: int) -> Sample:
        before = self.server.cpu_ms()
        sample = load.run(self.template.as_job(self.server.port, calls, concurrency))
        return sample | {"cpu_ms_per_call": (self.server.cpu_ms() - before) / calls}


def summary(samples: list[Sample]) -> dict[str, Any]:
    """The median of each quantity over the repeats, and for the rate also the least and the most."""
    cell: dict[str, Any] = {key: median(sample[key] for sample in samples) for key in samples[0]}
    rates = [sample["rps"] for sample in samples]
    return cell | {"rps_min": min(rates), "rps_max": max(rates)}


def interleaved(
    targets: dict[str, Target],
    load: Load,
    *,
    plan: dict[int, int],
    repeats: int,
    say: Callable[[str], None],
) -> dict[str, dict[int, list[Sample]]]:
    """All targets one after the other, all over again: what else the machine does hits all alike.

    Args:
        targets: by name.
        load: makes the calls.
        plan: calls of a cell, by concurrency.
        repeats: how often each cell is measured.
        say: told what is being measured.
    """
    for name, target in targets.items():
        say(f"warming up {name}")
        target.measure(load, calls=200, concurrency=8)
    samples: dict[str, dict[int, list[Sample]]] = {name: {c: [] for c in plan} for name in targets}
    for repeat in range(repeats):
        for concurrency, calls in plan.items():
            for name, target in targets.items():
                say(f"{name}, concurrency {concurrency}, repeat {repeat + 1} of {repeats}")
                sample = target.measure(load, calls=calls, concurrency=concurrency)
                samples[name][concurrency].append(sample)
    return samples
