from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from broker.policy.engine import PolicyEngine

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files of a policies folder and return the folder."""

    def write(files: Mapping[str, str]) -> Path:
        folder = tmp_path / "policies"
        (folder / "roles").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    return write


@pytest.fixture
def engine(write: Write) -> Callable[[Mapping[str, str]], PolicyEngine]:
    """A policy engine over files."""
    return lambda files: PolicyEngine(write(files))
