"""Who makes the calls? A load client that costs little: keep-alive HTTP/1.1 on bare sockets.

Runs as a process of its own. Reads one job per line on stdin (see `wire.Template.as_job`), makes
the calls, checks every answer, and writes one line of results to stdout.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

MARK = b"@@@@@@@@"


class Cell:
    """The calls of one job: hands out numbers until all calls are made, keeps every latency."""

    def __init__(self, job: dict[str, Any], done: asyncio.Future[None]) -> None:
        body = job["body"].encode()
        lines = [f"POST {job['path']} HTTP/1.1", f"Host: 127.0.0.1:{job['port']}"]
        lines += [f"{name}: {value}" for name, value in job["headers"].items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.request = "\r\n".join(lines).encode() + body
        self.expect = job["expect"].encode()
        self.echoes = job["echoes"]
        self.calls = job["calls"]
        self.latencies: list[int] = []
        self.done = done
        self._next = 0

    def take(self) -> tuple[bytes, bytes] | None:
        """The next request and the number that its answer has to show; None when all are taken."""
        if self._next >= self.calls:
            return None
        self._next += 1
        number = b"%08d" % self._next
        return self.request.replace(MARK, number), number if self.echoes else self.expect

    def finish(self, started: int, answer: bytes, number: bytes) -> None:
        self.latencies.append(time.perf_counter_ns() - started)
        if self.expect not in answer or number not in answer:
            self.fail(f"unexpected answer: {answer[:600]!r}")
        elif len(self.latencies) == self.calls and not self.done.done():
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))


class Connection(asyncio.Protocol):
    """One keep-alive connection with one call in flight."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.buffer = bytearray()
        self.started = 0
        self.number = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self) -> None:
        taken = self.cell.take()
        if taken is None:
            self.transport.close()
            return
        request, self.number = taken
        self.started = time.perf_counter_ns()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self.cell.fail(f"an answer without Content-Length: {head[:300]!r}")
            return
        length = int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        answer = bytes(self.buffer)
        self.buffer.clear()
        self.cell.finish(self.started, answer, self.number)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cell.take() is not None:
            self.cell.fail(f"the connection was closed: {exc}")


async def run(job: dict[str, Any]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    cell = Cell(job, loop.create_future())
    connections = [
        (await loop.create_connection(lambda: Connection(cell), "127.0.0.1", job["port"]))[1]
        for _ in range(job["concurrency"])
    ]
    started = time.perf_counter()
    for connection in connections:
        connection.send()
    await asyncio.wait_for(cell.done, timeout=120)
    seconds = time.perf_counter() - started
    ordered = sorted(cell.latencies)
    return {
        "rps": job["calls"] / seconds,
        "p50_ms": _percentile(ordered, 50),
        "p95_ms": _percentile(ordered, 95),
        "p99_ms": _percentile(ordered, 99),
    }


def _percentile(ordered: list[int], percent: int) -> float:
    """Nearest rank, in milliseconds."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] / 1e6


def main() -> None:
    for line in sys.stdin:
        try:
            result: dict[str, Any] = uvloop.run(run(json.loads(line)))
        except (OSError, RuntimeError, TimeoutError) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
