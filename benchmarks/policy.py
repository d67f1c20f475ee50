"""What does a decision cost, a list, a reload? 50 rules, 200 targets, chains of one and of five.

    python -m benchmarks.policy [--json] [--quick]

CPU time of one thread, medians of many. "New" is a call that rules can tell from every call before, so
that Cedar is asked; "kept" is one that they cannot, which is what calls mostly are.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from broker.model import (
    Agent,
    AgentId,
    Argument,
    Kind,
    MicroUSD,
    OrganisationId,
    Principal,
    Role,
    SideEffect,
    Situation,
    Target,
)
from broker.policy.engine import PolicyEngine

ROLES, FORBIDS, TARGETS, MANY = 40, 10, 200, 500
GOALS = {
    "decision, new, depth 0": 0.25,
    "decision, new, depth 4": 0.6,
    "list of 500, warm": 2.0,
    "list of 500, cold": 15.0,
    "reload of 200 roles": 250.0,
}
"""Milliseconds."""

_TOOLS = """tools:
  - match: "crm__*"
    arguments: {amount: {scale: 2, role: amount}, to: {role: destination}}
"""
_ARGUMENTS = (Argument("amount", "amount", 2, Role.AMOUNT), Argument("to", "to", None, Role.DESTINATION))
_LABELS = [
    frozenset({"untrusted-source"}),
    frozenset({"private-data"}),
    frozenset({"external-sink", "money"}),
]
_NOW = 1_800_000_000.0


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description="What does a decision cost?")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    options = parser.parse_args()
    figures = measured(repeats=20 if options.quick else 500)
    if options.json:
        print(json.dumps({"machine": platform.processor(), "ms": figures, "goals_ms": GOALS}))
        return
    for what, value in figures.items():
        goal = f"   goal {GOALS[what]:g} ms" if what in GOALS else ""
        print(f"{what:36} {value:8.4f} ms{goal}")


def measured(*, repeats: int) -> dict[str, float]:
    """Medians in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="broker-bench-") as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        _write(few, roles=ROLES, forbids=FORBIDS)
        _write(many, roles=200, forbids=FORBIDS)
        return _decisions(few, repeats) | _lists(few, repeats) | _reload(many, max(3, repeats // 50))


def _write(folder: Path, *, roles: int, forbids: int) -> None:
    """Half of the roles have a condition; the forbids look at taint, origins, trust and amounts."""
    for sub in ("roles", "rules", "tools"):
        (folder / sub).mkdir(parents=True)
    (folder / "tools" / "crm.yaml").write_text(_TOOLS)
    for n in range(roles):
        when = "\n    when: amount <= 50 and to like '*@acme.example'" if n % 2 else ""
        text = f'role: r{n}\nallow:\n  - tools: ["crm__{n % 10}*"]{when}\n'
        (folder / "roles" / f"r{n}.yaml").write_text(text)
    everything = 'role: all\nallow:\n  - tools: ["*"]\n    when: amount <= 500\n'
    (folder / "roles" / "all.yaml").write_text(everything)
    bodies = [
        'context.taint.contains("untrusted-source") && context.taint.contains("private-data")',
        'context.destinations.contains("untrusted")',
        "resource has min_trust && context.min_trust < resource.min_trust",
        "context.num has amount && context.num.amount > 100000",
        "context.counters.writes > 1000",
    ]
    rules = [
        f'@id("f{n}") @reason("r") forbid (principal, action == Action::"call", '
        f'resource in Label::"external-sink") when {{ {bodies[n % len(bodies)]} }};'
        for n in range(forbids)
    ]
    (folder / "rules" / "x.cedar").write_text("\n".join(rules))


def _target(n: int) -> Target:
    return Target(
        Kind.TOOL, f"crm__{n % 10}_{n}", "crm", f"{n}", {}, MicroUSD(0), "free", SideEffect.WRITES,
        _LABELS[n % 3], None, _ARGUMENTS,
    )  # fmt: skip


def _chain(depth: int) -> Principal:
    """Actors whose roles all differ, so that each of them is a question of its own."""
    actors = tuple(
        Agent(AgentId(f"a{n}"), OrganisationId("acme"), frozenset({"all", f"r{n * 2}"}))
        for n in range(depth + 1)
    )
    return Principal(actors[0], actors[-1].id, actors, frozenset(), "t", "x", 0)


def _decisions(folder: Path, repeats: int) -> dict[str, float]:
    policy = PolicyEngine(folder, clock=lambda: _NOW)
    targets = [_target(n) for n in range(TARGETS)]
    policy.retarget(targets)
    sink, figures, amounts = targets[2], dict[str, float](), iter(range(1, 50_000))
    situation = Situation(taint=frozenset({"untrusted-source"}))
    kept = {"arguments": {"amount": 7, "to": "a@acme.example"}}
    for depth in (0, 4):
        principal = _chain(depth)

        def new(principal: Principal = principal) -> None:
            params = {"arguments": {"amount": next(amounts) / 100, "to": "a@acme.example"}}
            assert policy.decide(principal, sink, params, situation).permitted

        figures[f"decision, new, depth {depth}"] = _ms(new, repeats)
        figures[f"decision, kept, depth {depth}"] = _ms(
            lambda p=principal: policy.decide(p, sink, kept, situation), repeats * 10
        )
    refused = {"arguments": {"amount": 501, "to": "a@acme.example"}}
    figures["refusal, depth 0"] = _ms(lambda: policy.decide(_chain(0), sink, refused, situation), repeats)
    return figures


def _lists(folder: Path, repeats: int) -> dict[str, float]:
    """Warm: asked before by a chain of these roles. Cold: right after the catalogue has changed."""
    policy = PolicyEngine(folder, clock=lambda: _NOW)
    targets = [_target(n) for n in range(MANY)]
    principal = _chain(0)

    def cold() -> None:
        policy.retarget(targets)
        assert len(policy.visible(principal, targets)) == MANY

    figures = {"list of 500, cold": _ms(cold, max(3, repeats // 20))}
    figures["list of 500, warm"] = _ms(lambda: policy.visible(principal, targets), repeats)
    apart = [replace(target, price=MicroUSD(n)) for n, target in enumerate(targets)]

    def all_apart() -> None:
        policy.retarget(apart)
        policy.visible(principal, apart)

    figures["list of 500 with 500 prices, cold"] = _ms(all_apart, max(3, repeats // 50))
    return figures


def _reload(folder: Path, repeats: int) -> dict[str, float]:
    policy = PolicyEngine(folder, clock=lambda: _NOW)
    policy.retarget([_target(n) for n in range(TARGETS)])
    return {"reload of 200 roles": _ms(policy.reload, repeats)}


def _ms(work: Callable[[], Any], repeats: int) -> float:
    for _ in range(min(repeats, 20)):
        work()
    times: list[float] = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return median(times) * 1000


if __name__ == "__main__":
    main()
