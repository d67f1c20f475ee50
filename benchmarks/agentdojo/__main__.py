"""What does the broker stop of AgentDojo's attacks, and what of its tasks?

    scripts/agentdojo [SUITE ...]

Prints the tables of docs/reference/agentdojo.md. The folder of the traces is its last argument.
"""

import sys
from pathlib import Path

import anyio

from benchmarks.agentdojo.replay import Outcome, replayed
from benchmarks.agentdojo.report import tables


async def main(folder: Path, names: list[str]) -> None:
    suites: dict[str, list[Outcome]] = {}
    for name in names:
        _, suites[name] = await replayed(folder / f"{name}.jsonl")
        print(f"{name}: {len(suites[name])} traces", file=sys.stderr)
    print(tables(suites))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[-1]), sys.argv[1:-1])
