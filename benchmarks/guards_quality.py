"""How much do the guards find, and what do they take for something it is not?

    python -m benchmarks.guards_quality SET.jsonl [--only GUARD]

SET holds one JSON object a line: `text`, `label`, `kind`, `family`, `source`, and for personal data and
secrets `spans` (`[{start, end, type}]`). Rates come with their Wilson 95 % interval; "one out" is the
lowest rate when any one source (for personal data: locale or type) is left out.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from math import sqrt
from pathlib import Path
from typing import Any

from broker.guardrails.armed import Armed
from broker.guardrails.conduct import load_conduct
from broker.guardrails.message import Message, Passage
from broker.guardrails.registry import GUARDS
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.spans import Verdict
from broker.model import Kind, Target
from broker.policy.load import shipped_policies

Record = dict[str, Any]
UNSTRUCTURED = {"PERSON", "ADDRESS", "DOB"}
TECHNICAL = ("hardneg", "chat", "security_doc")


class Reader:
    """All shipped guards over single texts."""

    def __init__(self) -> None:
        shipped = shipped_policies()
        self._armed = Armed(load_conduct(shipped, shipped, GUARDS))

    def findings(self, text: str, guard: str, param: str | None = None) -> list[Verdict]:
        stage = Stage.ARGUMENTS if param else Stage.RESULT
        passage = Passage(text)
        target = Target(Kind.TOOL, "set__tool", "set", "tool", {})
        if param:
            schema = {"type": "object", "properties": {param: {"type": "string"}}}
            target = Target(Kind.TOOL, f"set__{param}", "set", "tool", {"inputSchema": schema})
            passage = Passage(text, param, (None, "arguments"), param)
        scene = Scene(target)
        rulings = self._armed.conduct.rulings(stage, scene)
        verdicts = self._armed.look(Message([passage], stage, scene), rulings)
        return [v for v in verdicts if self._armed.names[v.guard].partition("@")[0] == guard]


def wilson(hits: int, of: int) -> str:
    if not of:
        return "-"
    z, p = 1.96, hits / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z * sqrt(p * (1 - p) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return f"{p:.3f} [{max(0, middle - half):.3f}, {min(1, middle + half):.3f}] n={of}"


def one_out(outcomes: Iterable[tuple[str, bool]], worst: Callable[[Iterable[float]], float]) -> str:
    """The worst rate over all but one group, over the groups."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for group, hit in outcomes:
        groups[group].append(hit)
    if len(groups) < 2:
        return ""
    rates = []
    for left in groups:
        rest = [hit for group, hits in groups.items() if group != left for hit in hits]
        rates.append(sum(rest) / len(rest))
    return f"one out {worst(rates):.3f}"


def line(name: str, outcomes: list[tuple[str, bool]], worst: Callable[[Iterable[float]], float]) -> None:
    hits = sum(hit for _, hit in outcomes)
    print(f"  {name:34} {wilson(hits, len(outcomes)):42} {one_out(outcomes, worst)}")


def covered(span: Record, verdicts: list[Verdict]) -> float:
    """The share of a true span that the best finding covers."""
    size = span["end"] - span["start"]
    return max((min(span["end"], v.end) - max(span["start"], v.start) for v in verdicts), default=0) / size


def personal(records: list[Record], reader: Reader) -> None:
    print("personal data (a span is found if one finding covers 60 % of it)")
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    whole: list[tuple[str, bool]] = []
    false: list[tuple[str, bool]] = []
    for record in records:
        if record["family"] != "pii":
            continue
        verdicts = reader.findings(record["text"], "personal")
        if record["label"] == "benign":
            false.append((record["id"], bool(verdicts)))
        for span in record["spans"] if record["label"] == "pii" else ():
            share = covered(span, verdicts)
            found[span["type"]].append((record["kind"], share >= 0.6))
            if share >= 0.6:
                whole.append((span["type"], share >= 1))
    structured = [(kind, hit) for kind, hits in found.items() if kind not in UNSTRUCTURED for _, hit in hits]
    line("structured", structured, min)
    line("of these covered as a whole", [(k, h) for k, h in whole if k not in UNSTRUCTURED], min)
    for kind in sorted(found):
        line(kind, found[kind], min)
    line("look-alikes taken for it", false, max)


def documents(records: list[Record], reader: Reader, guard: str, positive: str, benign: list[Record]) -> None:
    print(f"{guard} (any finding counts)")
    by_kind: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    every: list[tuple[str, bool]] = []
    for record in records:
        if record["label"] == positive:
            hit = bool(reader.findings(record["text"], guard, record.get("param")))
            every.append((record["kind"] if positive == "secret" else record["source"], hit))
            by_kind[record["kind"]].append((record["source"], hit))
    line("found", every, min)
    for kind in sorted(by_kind):
        line(kind, by_kind[kind], min)
    groups: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for record in benign:
        hit = bool(reader.findings(record["text"], guard, record.get("param")))
        groups[record["kind"].partition(":")[0]].append((record["source"], hit))
    line("benign taken for it", [o for group in groups.values() for o in group], max)
    for group in sorted(groups):
        line(group, groups[group], max)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, help="JSONL file")
    parser.add_argument("--only", help="one guard")
    options = parser.parse_args()
    records = [json.loads(text) for text in options.set.read_text("utf-8").splitlines()]
    reader = Reader()
    benign = [r for r in records if r["label"] == "benign"]
    technical = [
        r
        for r in benign
        if (r["family"] == "injection" and not r["kind"].startswith(TECHNICAL))
        or r["kind"] == "secret_lookalike"
    ]
    parts: dict[str, Callable[[], None]] = {
        "personal": lambda: personal(records, reader),
        "secrets": lambda: documents(records, reader, "secrets", "secret", technical),
        "exfiltration": lambda: documents(
            records,
            reader,
            "exfiltration",
            "exfil",
            [r for r in benign if r["family"] in ("exfil", "injection")],
        ),
        "dangerous": lambda: documents(
            records, reader, "dangerous", "malicious_arg", [r for r in benign if r["family"] == "toolarg"]
        ),
    }
    for name, part in parts.items():
        if options.only in (None, name) and name in GUARDS:
            part()


if __name__ == "__main__":
    main()
