"""How does a call tree look on a terminal? One call a line, indented below the one it was made for."""

from collections.abc import Iterator, Sequence

from broker.edges.call_tree import Node
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.output import dollars

_STYLES = {"ok": "green", "tool_error": "yellow", "unknown": "yellow", "cancelled": "yellow"}


def lines(roots: Sequence[Node], ink: Ink) -> Iterator[str]:
    """Trees as text, one call a line: who, what, how it ended, time, cost, for which task."""
    drawn = [(prefix, node) for root in roots for prefix, node in _drawn(root, "", "")]
    who = [visible(prefix + " ← ".join(node.chain)) for prefix, node in drawn]
    width = max(map(len, who), default=0)
    names = max((len(visible(node.name)) for _, node in drawn), default=0)
    ends = max((len(node.outcome) for _, node in drawn), default=0)
    for label, (_, node) in zip(who, drawn, strict=True):
        outcome = ink(_STYLES.get(node.outcome, "red"), f"{node.outcome:{ends}}")
        took = "" if node.duration_us is None else f"{node.duration_us / 1000:.1f} ms"
        cost = dollars(node.cost) if node.cost else ""
        parts = [f"{label:{width}}", f"{visible(node.name):{names}}", outcome, f"{took:>10}", f"{cost:12}"]
        yield "  ".join([*parts, ink("dim", node.call), *_remarks(node)]).rstrip()


def _remarks(node: Node) -> Iterator[str]:
    if node.task:
        yield visible(f"task “{node.task}”")
    if node.refused_by:
        yield visible(f"by {', '.join(node.refused_by)}")


def _drawn(node: Node, first: str, rest: str) -> Iterator[tuple[str, Node]]:
    yield first, node
    for child in node.children:
        last = child is node.children[-1]
        yield from _drawn(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
