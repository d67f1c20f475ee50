"""How long does it take to replay recorded calls under a changed rule?

    python -m benchmarks.simulate [--calls 100000]

The log is written by the broker's own scribe and log writer: every call is decided by the policies in
force, and its record holds what that decision looked at. Then `broker policy simulate` replays it in a
process of its own, as an operator would.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import anyio

from broker.app import office
from broker.audit.interface import Outcome
from broker.catalog.facts import load_facts
from broker.catalog.known import supposed
from broker.errors import Denied
from broker.model import Agent, AgentId, Call, Kind, Method, OrganisationId, Principal, Situation, new_call_id
from broker.policy.engine import PolicyEngine
from broker.record import CallRecord, Scribe
from broker.settings import Settings

BROKER = str(Path(sys.executable).parent / "broker")
AT_ONCE = 500
AGENTS, TOOLS = 20, 40

ROLES = """\
role: role{n}
allow:
  - tools: ["desk{n}__*", "shared__*"]
  - tools: ["bank__pay"]
    when: amount <= {limit}
"""
FACTS = """\
tools:
  - {match: "*__get*", labels: [trusted-source], side_effect: reads}
  - {match: "*__put*", labels: [external-sink], side_effect: writes}
  - match: bank__pay
    labels: [money]
    arguments: {amount: {scale: 2, role: amount}, to: {role: destination}}
"""
RULES = """\
@id("no-way-out") @reason("it has read what anybody may have written")
forbid (principal, action == Action::"call", resource in Label::"external-sink")
when { context.taint.contains("untrusted-source") };
@id("many-writes") @reason("that is enough for one task")
forbid (principal, action == Action::"call", resource)
when { resource.side_effect != "reads" && context.counters.writes > %d };
"""


def policies(folder: Path, *, limit: int, writes: int) -> Path:
    """A folder of policies: 50 roles, facts and two rules."""
    for sub in ("roles", "tools", "rules"):
        (folder / sub).mkdir(parents=True)
    for n in range(50):
        (folder / "roles" / f"{n}.yaml").write_text(ROLES.format(n=n, limit=limit))
    (folder / "tools" / "facts.yaml").write_text(FACTS)
    (folder / "rules" / "rules.cedar").write_text(RULES % writes)
    return folder


def calls(engine: PolicyEngine, folder: Path, count: int) -> Iterator[CallRecord]:
    """Decided calls, none like another in amounts and counters."""
    facts, chance = load_facts(folder), random.Random(7)
    agents = [
        Agent(AgentId(f"agent{n}"), OrganisationId("acme"), frozenset({f"role{n}"})) for n in range(AGENTS)
    ]
    names = [f"desk{n % AGENTS}__{'get' if n % 2 else 'put'}{n}" for n in range(TOOLS)] + ["bank__pay"]
    targets = [supposed(Kind.TOOL, name, facts) for name in names]
    engine.retarget(targets)
    for _ in range(count):
        agent = chance.choice(agents)
        own = [t for t in targets if t.connector in {"bank", f"desk{agent.id.removeprefix('agent')}"}]
        target, amount = chance.choice(own), chance.randrange(1, 20_000)
        params = {"name": target.name, "arguments": {"amount": amount / 100, "to": f"account-{amount % 97}"}}
        call = Call(new_call_id(), Method.CALL_TOOL, target.name, params, "", caller=None)  # pyright: ignore[reportArgumentType] - nobody is answered
        record = CallRecord(call, time.monotonic(), target=target, params=params)
        record.principal = Principal(agent, agent.id, (agent,), frozenset(), "t", "x", 0)
        record.situation = Situation(
            taint=frozenset({"untrusted-source"}) if chance.random() < 0.3 else frozenset(),
            counters={"calls": chance.randrange(60), "writes": chance.randrange(40)},
            trust=chance.randrange(400, 1000),
        )
        record.decision = engine.decide(record.principal, target, params, record.situation)
        yield record


async def write(journal_store: object, scribe: Scribe, records: Iterator[CallRecord]) -> None:
    """Append the records, as many at once as busy callers would."""
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def append(record: CallRecord) -> None:
        async with limit:
            decision = record.decision
            if decision is not None and decision.permitted:
                entry = scribe.intent(record)
            else:
                entry = scribe.denial(record, Outcome.DENIED, Denied("no", because=()))
            await journal_store.append(entry)  # type: ignore[attr-defined]

    async with anyio.create_task_group() as tasks:
        for number, record in enumerate(records):
            tasks.start_soon(append, record)
            if number % AT_ONCE == 0:
                await anyio.sleep(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=100_000)
    count = parser.parse_args().calls
    with tempfile.TemporaryDirectory(prefix="broker-simulate-") as name:
        folder = Path(name)
        present = policies(folder / "policies", limit=150, writes=30)
        changed = policies(folder / "changed", limit=100, writes=20)
        config = folder / "broker.toml"
        config.write_text('state_dir = "state"\npolicies_dir = "policies"\n')

        async def fill() -> None:
            async with office(Settings(state_dir=folder / "state", policies_dir=present)) as back:
                scribe = Scribe(back.keys.digest)
                await write(back.store.journal, scribe, calls(PolicyEngine(present), present, count))

        started = time.perf_counter()
        anyio.run(fill)
        print(f"{count:,} calls decided and written in {time.perf_counter() - started:.1f} s")
        command = [
            BROKER,
            "policy",
            "simulate",
            "--policies",
            str(changed),
            "--config",
            str(config),
            "--json",
        ]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        took = time.perf_counter() - started
        found = json.loads(done.stdout)
        print(f"replayed {found['calls']:,} calls in {took:.1f} s ({took / count * 1e6:.0f} µs a call)")
        print({key: found[key] for key in ("otherwise", "same", "unjudged", "without_decision")})


if __name__ == "__main__":
    main()
