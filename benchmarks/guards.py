"""What does reading cost? CPU time of one screening with all shipped guards, on texts never seen before.

    python -m benchmarks.guards [--rounds N] [--json]

neutral: prose without anything to find; json: rows of a table as a tool answers them; dense: most lines hold
an identifier, a token, an address or a number that looks like one; words: prose in a script beyond ASCII.
"""

import argparse
import contextlib
import json
import random
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from broker.errors import Blocked
from broker.guardrails.conduct import load_conduct
from broker.guardrails.registry import GUARDS
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.screen import Screen
from broker.model import Json, Kind, Target
from broker.policy.load import shipped_policies
from broker.settings import LimitSettings

SIZES = {"1 KB": 1_000, "10 KB": 10_000}
GOALS = {"1 KB": (0.3, 1.0), "10 KB": (3.0, 6.0)}
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="texts per cell")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    shipped = shipped_policies()
    screen = Screen(LimitSettings(), load_conduct(shipped, shipped, GUARDS), b"k" * 32)
    chance = random.Random(1)
    result = {
        f"{kind}, {size}": cell(screen, make, length, options.rounds, chance)
        for kind, make in KINDS.items()
        for size, length in SIZES.items()
    }
    if options.json:
        print(json.dumps(result))
        return
    print("| text | p50 ms | p99 ms | goal p50 / p99 |\n|---|---|---|---|")
    for name, times in result.items():
        low, high = GOALS[name.partition(", ")[2]]
        print(f"| {name} | {times['p50']:.3f} | {times['p99']:.3f} | {low:g} / {high:g} |")


def cell(
    screen: Screen, make: Callable[[random.Random, int], Json], size: int, rounds: int, chance: random.Random
) -> dict[str, float]:
    scene = Scene(Target(Kind.TOOL, "bench__echo", "bench", "echo", {}))
    times: list[float] = []
    for content in [make(chance, size) for _ in range(rounds + 10)]:
        started = time.thread_time_ns()
        with contextlib.suppress(Blocked):
            screen.screen_now(content, Stage.RESULT, scene, [])
        times.append((time.thread_time_ns() - started) / 1e6)
    return {"p50": median(times[10:]), "p99": quantiles(times[10:], n=100)[98]}


def word(chance: random.Random) -> str:
    return "".join(chance.choices(LETTERS, weights=range(26, 0, -1), k=chance.randint(2, 9)))


def neutral(chance: random.Random, size: int) -> Json:
    return {"content": [{"type": "text", "text": _up_to(size, lambda: word(chance) + " ")}], "isError": False}


def words(chance: random.Random, size: int) -> Json:
    def one() -> str:
        return word(chance).translate(str.maketrans("aou", "äöü")) + " "

    return {"content": [{"type": "text", "text": _up_to(size, one)}], "isError": False}


def table(chance: random.Random, size: int) -> Json:
    rows: list[dict[str, Any]] = []
    while len(json.dumps(rows)) < size // 2:
        rows.append(
            {
                "id": chance.randint(1, 99999),
                "title": " ".join(word(chance) for _ in range(4)),
                "created_at": f"2026-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T10:32:11Z",
                "url": f"https://tracker.test/items/{chance.randint(1, 99999)}",
                "done": chance.random() < 0.5,
            }
        )
    return {"content": [{"type": "text", "text": json.dumps(rows)}], "structuredContent": {"rows": rows}}


def dense(chance: random.Random, size: int) -> Json:
    def one() -> str:
        n = chance.randint(10**8, 10**9 - 1)
        return chance.choice(
            (
                f"contact {word(chance)}.{word(chance)}@{word(chance)}.eu, phone +49 30 {n}\n",
                f"DB_PASSWORD={word(chance)}{n}{word(chance).upper()}\n",
                f"token ghp_{chance.getrandbits(180):036x}\n",
                f"order {n} from 84.17.{n % 256}.{n % 99} at 2026-05-1{n % 10}, key {word(chance)}\n",
                f"see https://{word(chance)}.test/{word(chance)}?session={chance.getrandbits(128):x}\n",
                f"BSN {n}, IBAN DE{n}0044053201300{n % 10}, card 4{n}{n % 1000000}\n",
                f'"api_key": "{chance.getrandbits(160):x}", "name": "\\u0041\\n%20{word(chance)}"\n',
            )
        )

    return {"content": [{"type": "text", "text": _up_to(size, one)}], "isError": False}


def _up_to(size: int, one: Callable[[], str]) -> str:
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(one())
        length += len(parts[-1])
    return "".join(parts)[:size]


KINDS = {"neutral": neutral, "json": table, "words": words, "dense": dense}


if __name__ == "__main__":
    main()
