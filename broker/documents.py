"""Which line of a file is wrong? YAML that operators write, read with closed keys and line numbers."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from broker.errors import ConfigurationError

_TEXT = "tag:yaml.org,2002:str"
_INT = "tag:yaml.org,2002:int"
_BOOL = "tag:yaml.org,2002:bool"


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document and the place where it stands."""

    file: str
    yaml: yaml.Node

    @property
    def place(self) -> str:
        """`policies/roles/reader.yaml:3`."""
        return f"{self.file}:{self.yaml.start_mark.line + 1}"

    def error(self, message: str, hint: str | None = None) -> ConfigurationError:
        """What is wrong here, starting with file and line."""
        return ConfigurationError(f"{self.place}: {message}", hint=hint)

    def mapping(self, keys: Collection[str], *, required: Collection[str] = ()) -> dict[str, "Node"]:
        """The values of a mapping that may hold `keys` and nothing else.

        Raises:
            ConfigurationError: no mapping, an unknown, repeated or missing key.
        """
        found: dict[str, Node] = {}
        for key, value in self.pairs(f"keys: {_listed(keys)}"):
            name = key.text()
            if name not in keys:
                raise key.error(f"unknown key `{name}`", _suggestion(name, keys))
            found[name] = value
        for name in required:
            if name not in found:
                raise self.error(f"`{name}` is missing")
        return found

    def pairs(self, hint: str | None = None) -> list[tuple["Node", "Node"]]:
        """Keys and values of a mapping that may hold any keys.

        Raises:
            ConfigurationError: no mapping, or a repeated key.
        """
        if not isinstance(self.yaml, yaml.MappingNode):
            raise self.error(f"{_kind(self.yaml)} where `key: value` pairs belong", hint)
        found: dict[str, tuple[Node, Node]] = {}
        for key_node, value in cast("list[tuple[yaml.Node, yaml.Node]]", self.yaml.value):
            key = Node(self.file, key_node)
            if (name := key.text()) in found:
                raise key.error(f"`{name}` is given twice")
            found[name] = key, Node(self.file, value)
        return list(found.values())

    def items(self) -> list["Node"]:
        """The items of a list.

        Raises:
            ConfigurationError: it is no list.
        """
        if not isinstance(self.yaml, yaml.SequenceNode):
            raise self.error(
                f"{_kind(self.yaml)} where a list belongs", "write `[a, b]` or one `- item` a line"
            )
        return [Node(self.file, item) for item in cast("list[yaml.Node]", self.yaml.value)]

    def text(self) -> str:
        """A text.

        Raises:
            ConfigurationError: it is something else, such as a number or `no`.
        """
        if not isinstance(self.yaml, yaml.ScalarNode) or self.yaml.tag != _TEXT:
            raise self.error(f"{_kind(self.yaml)} where a text belongs", "put a text in quotes")
        return cast("str", self.yaml.value)

    def integer(self, least: int, most: int) -> int:
        """A whole number from `least` to `most`.

        Raises:
            ConfigurationError: it is something else.
        """
        text = cast("str", self.yaml.value) if isinstance(self.yaml, yaml.ScalarNode) else ""
        if self.yaml.tag != _INT or not text.isdecimal() or not least <= int(text) <= most:
            raise self.error(f"{_kind(self.yaml)} where a whole number belongs", f"use {least} to {most}")
        return int(text)

    def flag(self) -> bool:
        """`true` or `false`.

        Raises:
            ConfigurationError: it is something else.
        """
        if not isinstance(self.yaml, yaml.ScalarNode) or self.yaml.tag != _BOOL:
            raise self.error(f"{_kind(self.yaml)} where `true` or `false` belongs")
        return cast("str", self.yaml.value).lower() in ("true", "yes", "on")

    def one_of(self, choices: Collection[str]) -> str:
        """A text out of `choices`.

        Raises:
            ConfigurationError: it is something else.
        """
        text = self.text()
        if text not in choices:
            raise self.error(f"`{text}` is not one of {_listed(choices)}", _suggestion(text, choices))
        return text


def read_text(path: Path, name: str) -> str:
    """The text of a file that messages call `name`.

    Raises:
        ConfigurationError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{name}:1: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{name}:{line}: is not UTF-8 text") from error


def read_yaml(path: Path, name: str) -> Node:
    """The one document in a YAML file that messages call `name`.

    Raises:
        ConfigurationError: it cannot be read, is not YAML or is empty.
    """
    try:
        text = read_text(path, name)
        root = cast("yaml.Node | None", yaml.compose(text, yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType] - no stubs
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{name}:{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name}:1: not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{name}:1: is nested too deeply") from error
    if root is None:
        raise ConfigurationError(f"{name}:1: is empty")
    return Node(name, root)


def did_you_mean(word: str, words: Collection[str]) -> str | None:
    """`did you mean ...?`, if something similar exists."""
    close = difflib.get_close_matches(word, sorted(words), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def _suggestion(word: str, words: Collection[str]) -> str:
    return did_you_mean(word, words) or f"possible: {_listed(words)}"


def _listed(words: Collection[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


def _kind(node: yaml.Node) -> str:
    match node:
        case yaml.MappingNode():
            return "`key: value` pairs"
        case yaml.SequenceNode():
            return "a list"
        case _ if node.tag == _TEXT:
            return "a text"
        case _:
            return f"`{cast('str', node.value)}` ({node.tag.rpartition(':')[2]})"
