"""What stands in the documentation? Pages, their fenced blocks, headings, links and what is set in code."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>[a-z]*)\n")
_HEADING = re.compile(r"#{1,6} (.+)")
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\((?P<to>[^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_FILE_NAME = re.compile(r"(?:#|//) (?P<name>[\w./-]+\.[a-z]+)(?P<added>, added)?\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. Where its first line is a comment that names a file, it is that file."""

    page: "Page"
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        named = _FILE_NAME.match(self.text)
        return named["name"] if named else None

    @property
    def is_added(self) -> bool:
        """Whether the block is added to its file, which is there already."""
        named = _FILE_NAME.match(self.text)
        return bool(named and named["added"])

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, *languages: str) -> list[Block]:
        return [block for block in self._fences() if not languages or block.language in languages]

    @property
    def prose(self) -> str:
        """The text without its fenced blocks; lines keep their numbers."""
        kept = self.text.split("\n")
        for block in self._fences():
            inside = block.text.count("\n")
            kept[block.line - 1 : block.line + inside + 1] = [""] * (inside + 2)
        return "\n".join(kept)

    @property
    def anchors(self) -> set[str]:
        """What `#…` may name, as GitHub makes it of headings."""
        headings = [m[1] for line in self.prose.split("\n") if (m := _HEADING.fullmatch(line))]
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def links(self) -> list[str]:
        return [found["to"] for found in _LINK.finditer(self.prose)]

    @property
    def code(self) -> list[str]:
        """Everything set in code within sentences and tables, each on one line."""
        return [" ".join(found[1].split()) for found in _SPAN.finditer(self.prose)]

    def _fences(self) -> Iterator[Block]:
        lines = self.text.split("\n")
        number = 0
        while number < len(lines):
            opening = _FENCE.fullmatch(lines[number] + "\n")
            if opening is None:
                number += 1
                continue
            end = lines.index(f"{opening['indent']}```", number + 1)
            inner = [line.removeprefix(opening["indent"]) for line in lines[number + 1 : end]]
            yield Block(self, number + 1, opening["language"], "\n".join([*inner, ""]))
            number = end + 1

    def __str__(self) -> str:
        return self.name


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository: those git knows, and new ones it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    )
    names = listed.stdout.decode().split("\0")
    return tuple(path for name in sorted(filter(None, names)) if (path := ROOT / name).is_file())


@cache
def pages() -> tuple[Page, ...]:
    """Every Markdown file of the repository."""
    return tuple(Page(path) for path in tracked() if path.suffix == ".md")


def blocks(*languages: str) -> list[Block]:
    return [block for page in pages() for block in page.blocks(*languages)]
