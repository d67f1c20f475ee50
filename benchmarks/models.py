"""What does the broker add to a model: until the first token, and to every chunk of its stream?

    scripts/bench models [--quick] [--json]

A model that writes at once, a relay that governs nothing in front of it, and the broker with everything on
(token, role, default guards both ways, price, cap, durable intent and outcome), interleaved in one run.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.call import machine, progress
from benchmarks.governed import Broker
from benchmarks.process import Server, free_port

CONNECTOR = """
[connectors.bench]
use = "openai"

[connectors.bench.settings]
url = "http://127.0.0.1:{port}/v1"
allow_private = true

[connectors.bench.settings.models.prose]
context = 128000
"""
PRICES = """\
prices:
  - match: "bench__*"
    input: "1"
    output: "10"
"""
GAP_US = 1000
"""Microseconds between chunks where their cost is measured: each arrives alone, as from a real model."""
FEW, MANY = 20, 500
"""Chunks of a short and of a long stream; what the long one costs more, its chunks cost."""


@dataclass
class Target:
    """One server that the same request goes to."""

    server: Server
    model: str
    token: str = "none"

    async def stream(self, chunks: int, gap_us: int) -> tuple[float, float]:
        """Milliseconds until the first event of one stream, and until its first text."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "Tell me about the river and the mill."}],
            "stream": True,
            "max_tokens": chunks,
            "seed": gap_us,
        }
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        started = time.perf_counter()
        writer.write(head.encode() + data)
        seen, first, text = b"", 0.0, 0.0
        while more := await reader.read(65536):
            seen += more
            if not first and b"data: {" in seen:
                first = time.perf_counter() - started
            if not text and b"river" in seen:
                text = time.perf_counter() - started
        writer.close()
        if not text or b"data: [DONE]" not in seen:
            raise SystemExit(f"port {self.server.port} answered {seen[:500]!r}")
        return first * 1000, text * 1000


def run(stack: ExitStack, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="broker-bench-")))
    targets = _targets(stack, folder)
    calls, repeats = (10, 1) if quick else (100, 3)
    result: dict[str, Any] = {"machine": machine(), "calls": calls, "repeats": repeats}
    firsts: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
    for name, target in targets.items():
        say(f"warming up {name}")
        asyncio.run(_one_by_one(target, 20))
    for _ in range(repeats):
        for name, target in targets.items():
            say(f"first token, {name}")
            firsts[name] += asyncio.run(_one_by_one(target, calls))
    costs: dict[str, list[float]] = {name: [] for name in targets if name != "direct"}
    for _ in range(repeats):
        for name, seen in costs.items():
            say(f"chunks, {name}")
            seen.append(_chunk_us(targets[name], 4 if quick else 24))
    for name in targets:
        event, text = (median(pair[n] for pair in firsts[name]) for n in (0, 1))
        result[name] = {"first_event_ms": event, "first_text_ms": text}
        if name in costs:
            result[name]["chunk_us"] = median(costs[name])
    result["added_first_event_ms"] = result["broker"]["first_event_ms"] - result["direct"]["first_event_ms"]
    return result


async def _one_by_one(target: Target, calls: int) -> list[tuple[float, float]]:
    return [await target.stream(100, 0) for _ in range(calls)]


def _chunk_us(target: Target, streams: int) -> float:
    """CPU of the server for one chunk, in microseconds: eight streams at a time."""

    async def many(chunks: int) -> float:
        before = target.server.cpu_ms()
        for _ in range(streams // 8 or 1):
            await asyncio.gather(*(target.stream(chunks, GAP_US) for _ in range(min(8, streams))))
        return target.server.cpu_ms() - before

    async def both() -> float:
        return await many(MANY) - await many(FEW)

    return asyncio.run(both()) * 1000 / (streams * (MANY - FEW))


def _targets(stack: ExitStack, folder: Path) -> dict[str, Target]:
    def started(name: str, module: str, *arguments: str) -> Server:
        port = free_port()
        command = [sys.executable, "-m", module, str(port), *arguments]
        server = Server(command, port, folder / f"{name}.log", ready="/v1/models")
        stack.callback(server.stop)
        return server

    upstream = started("upstream", "benchmarks.upstream_models")
    relay = started("relay", "benchmarks.relay_models", str(upstream.port))
    (folder / "broker" / "policies" / "prices").mkdir(parents=True)
    (folder / "broker" / "policies" / "prices" / "bench.yaml").write_text(PRICES)
    broker = Broker(folder / "broker", upstream.port, CONNECTOR)
    server = broker.start()
    stack.callback(server.stop)
    return {
        "direct": Target(upstream, "prose"),
        "relay": Target(relay, "prose"),
        "broker": Target(server, "bench__prose", broker.token()),
    }


def table(result: dict[str, Any]) -> str:
    """As Markdown."""
    on = result["machine"]
    where = (
        f"{on['cpus']} CPUs, {on['system']}, Python {on['python']}, load average at start "
        f"{on['load_average']:.1f}; median of {result['repeats']} times {result['calls']} streams"
    )
    rows = [
        where,
        "",
        "| | first event, p50 ms | first text, p50 ms | CPU per chunk, µs |",
        "|---|---|---|---|",
    ]
    for name in ("direct", "relay", "broker"):
        cell = result[name]
        chunk = f"{cell['chunk_us']:.0f}" if "chunk_us" in cell else "-"
        rows.append(f"| {name} | {cell['first_event_ms']:.2f} | {cell['first_text_ms']:.2f} | {chunk} |")
    return "\n".join([*rows, "", f"added until the first event: {result['added_first_event_ms']:.2f} ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few streams, once: does it run at all?")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    with ExitStack() as stack:
        result = run(stack, quick=options.quick, say=progress)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
