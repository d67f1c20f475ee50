"""Does the repository speak only of itself? No places where it was written, no addresses of registries."""

import re

import pytest

from tests.docs.pages import ROOT, tracked

_DOT = r"\."
FOREIGN = re.compile(
    "|".join(
        [
            rf"pypi{_DOT}org",
            rf"pythonhosted{_DOT}org",
            rf"npmjs{_DOT}(?:org|com)",
            rf"\bregistry{_DOT}[a-z0-9-]+{_DOT}[a-z]{{2,}}",
            rf"\b(?:crates|ghcr|quay|docker){_DOT}io\b",
            r"(?<![\w./-])/work/",
            r"/tmp/(?:lab|brief|bash_jobs)",  # noqa: S108 - looked for, not written to
            r"(?<![\w.])/opt/pypi",
            r"--(?:extra-)?index-url",
        ]
    ).encode()
)
PERMITTED = {"scripts/lock": b"--no-emit-index-url"}
"""It names the option that keeps such addresses out of the locks."""


@pytest.mark.parametrize("suffix", sorted({path.suffix for path in tracked()}), ids=lambda s: s or "none")
def test_no_file_names_the_place_it_was_written_in_or_a_registry(suffix: str):
    found = {
        path.relative_to(ROOT).as_posix(): sorted({m[0].decode() for m in FOREIGN.finditer(_text(path))})
        for path in tracked()
        if path.suffix == suffix and path != ROOT / "tests" / "docs" / "test_repository.py"
    }
    assert {name: words for name, words in found.items() if words} == {}


def _text(path) -> bytes:
    permitted = PERMITTED.get(path.relative_to(ROOT).as_posix())
    content = path.read_bytes()
    return content.replace(permitted, b"") if permitted else content


@pytest.mark.parametrize(
    "text",
    [
        b"https://pypi" + b".org/simple",
        b"see /work/" + b"main",
        b"registry.npmjs" + b".org",
        b"registry.acme.io",
    ],
)
def test_a_foreign_address_would_be_found(text: bytes):
    assert FOREIGN.search(text)
