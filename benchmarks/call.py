"""What does the broker cost, beside no broker at all and beside a relay that governs nothing?

    scripts/bench [--quick] [--sdk] [--json]

All in one run, on one machine, interleaved, so that the ratios hold even where the machine is busy.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.cells import Load, Sample, Target, interleaved, summary
from benchmarks.governed import BROKER, Broker
from benchmarks.process import Server, free_port
from benchmarks.wire import call_tool, list_tools, token_request

FULL = {1: 500, 8: 1000, 32: 2000}
QUICK = {1: 60, 8: 120, 32: 240}
MANY_TOOLS = 500


class Run:
    """One run: starts what it needs in a temporary folder, measures, stops everything."""

    def __init__(self, *, quick: bool, sdk: bool, say: Callable[[str], None], stack: ExitStack) -> None:
        self.plan, self.repeats = (QUICK, 1) if quick else (FULL, 3)
        self.few = 40 if quick else 200
        self.sdk = sdk
        self.say = say
        self.stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="broker-bench-")))
        self.load = stack.enter_context(Load())

    def everything(self) -> dict[str, Any]:
        started = time.perf_counter()
        result = {"machine": machine(), "calls": {str(c): n for c, n in self.plan.items()}}
        result |= {"repeats": self.repeats, "upstream": "mcp sdk" if self.sdk else "raw asgi"}
        result |= {"at_rest": self.at_rest()} | self.calls() | {"tools_list_500": self.listing()}
        return result | {"took_s": time.perf_counter() - started}

    def at_rest(self) -> dict[str, Any]:
        """A broker without connectors: start, memory, tokens; and how long `--help` takes."""
        self.say("start-up, memory at rest, token endpoint")
        broker = Broker(self._folder("rest"))
        starts = []
        for _ in range(self.repeats):
            server = broker.start()
            starts.append(server.start_s)
            memory = server.pss_mib()
            server.stop()
        server = self._started(broker.start())
        agent = broker.agent
        template = token_request(agent["client_id"], agent["client_secret"], broker.resource)
        target = Target(server, template)
        target.measure(self.load, calls=20, concurrency=1)
        token = target.measure(self.load, calls=self.few, concurrency=1)
        server.stop()
        return {"start_s": median(starts), "pss_mib": memory, "token": token, "help_ms": help_ms()}

    def calls(self) -> dict[str, Any]:
        upstream = self._upstream("benchmarks.upstream_sdk" if self.sdk else "benchmarks.upstream")
        relay_port = free_port()
        relay = self._server("relay", relay_port, "benchmarks.relay", str(relay_port), str(upstream.port))
        broker = Broker(self._folder("broker"), upstream.port)
        server = self._started(broker.start())
        targets = {
            "direct": Target(upstream, call_tool("echo")),
            "relay": Target(relay, call_tool("echo")),
            "broker": Target(server, call_tool("bench__echo", token=broker.token())),
        }
        samples = interleaved(targets, self.load, plan=self.plan, repeats=self.repeats, say=self.say)
        cells: dict[str, Any] = {
            name: {str(c): summary(cell) for c, cell in by_concurrency.items()}
            for name, by_concurrency in samples.items()
        }
        ratios = {str(c): _ratio(samples["broker"][c], samples["relay"][c]) for c in self.plan}
        added = cells["broker"]["1"]["p50_ms"] - cells["direct"]["1"]["p50_ms"]
        memory = {name: target.server.pss_mib() for name, target in targets.items()}
        for target in reversed(targets.values()):
            target.server.stop()
        return cells | {"broker_per_relay_rps": ratios, "added_p50_ms": added, "pss_mib": memory}

    def listing(self) -> dict[str, Any]:
        self.say(f"tools/list with {MANY_TOOLS} tools")
        upstream = self._upstream("benchmarks.upstream", str(MANY_TOOLS))
        broker = Broker(self._folder("many"), upstream.port)
        server = self._started(broker.start())
        target = Target(server, list_tools(f"bench__echo_{MANY_TOOLS - 1}", token=broker.token()))
        target.measure(self.load, calls=10, concurrency=1)
        sample = target.measure(self.load, calls=self.few, concurrency=1)
        server.stop()
        upstream.stop()
        return sample

    def _upstream(self, module: str, *arguments: str) -> Server:
        port = free_port()
        return self._server("upstream", port, module, str(port), *arguments)

    def _server(self, name: str, port: int, module: str, *arguments: str) -> Server:
        command = [sys.executable, "-m", module, *arguments]
        return self._started(Server(command, port, self.folder / f"{name}.log", ready="/"))

    def _started(self, server: Server) -> Server:
        self.stack.callback(server.stop)
        return server

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder


def _ratio(broker: list[Sample], relay: list[Sample]) -> float:
    """Of the rates, each against the one measured right before it."""
    return median(b["rps"] / r["rps"] for b, r in zip(broker, relay, strict=True))


def help_ms() -> float:
    """Wall time of `broker --help`, median of five."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([BROKER, "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


def machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few calls, once: does it run at all?")
    parser.add_argument("--sdk", action="store_true", help="an upstream built with the MCP Python SDK")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    with ExitStack() as stack:
        run = Run(quick=options.quick, sdk=options.sdk, say=progress, stack=stack)
        result = run.everything()
    print(json.dumps(result) if options.json else report.table(result))


def progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
