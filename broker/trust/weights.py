"""What did the operator say that signs cost? `policies/trust/weights.yaml`."""

import hashlib
from pathlib import Path
from typing import Final

from broker.documents import Node, read_yaml
from broker.trust.interface import MOST
from broker.trust.score import Weight, Weights

FILE: Final = "trust/weights.yaml"

LEVELS: Final = ("A0", "A1", "A2", "A3")
_YEAR_S: Final = 366 * 86_400


def load_weights(policies: Path, shipped: Path) -> Weights:
    """Read the operator's file; without one, the shipped one.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    path = policies / FILE
    if not path.is_file():
        path = shipped / FILE
    return read_weights(path, f"{policies.name}/{FILE}")


def read_weights(path: Path, name: str) -> Weights:
    """Read one file that messages call `name`.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    root = read_yaml(path, name)
    fields = root.mapping(
        ("base", "ceiling", "credit", "rules"), required=("base", "ceiling", "credit", "rules")
    )
    credit = fields["credit"].mapping(("per_day", "most"), required=("per_day", "most"))
    return Weights(
        version=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        rules={name.text(): _weight(node) for name, node in fields["rules"].pairs()},
        base=_levels(fields["base"]),
        ceiling=_levels(fields["ceiling"]),
        daily_credit=credit["per_day"].integer(0, MOST),
        most_credit=credit["most"].integer(0, MOST),
    )


def _levels(node: Node) -> tuple[int, ...]:
    found = node.mapping(LEVELS, required=LEVELS)
    return tuple(found[level].integer(0, MOST) for level in LEVELS)


def _weight(node: Node) -> Weight:
    fields = node.mapping(("points", "half_life_s", "cap", "hard"), required=("points", "half_life_s"))
    return Weight(
        points=fields["points"].integer(0, MOST),
        half_life_s=fields["half_life_s"].integer(1, _YEAR_S),
        cap=fields["cap"].integer(0, MOST) if "cap" in fields else MOST,
        hard="hard" in fields and fields["hard"].flag(),
    )
