"""How is a policy file laid out? One layout for YAML and for Cedar, in which comments stay where they are.

What a file says is never changed: the result is read again, and where it does not say the same, or has
lost a comment, the file is left alone.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

import cedarpy
import yaml

from broker.errors import ConfigurationError

WIDTH = 110
_STEP = 2
_HEAD = re.compile(r"(?:\s*//[^\n]*\n)+[ \t]*\n")
"""Comments about the whole file: Cedar's formatter would join them to the first policy."""
_TEXT_STYLES = ("|", ">")
_ANCHORS = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken, yaml.DirectiveToken, yaml.DocumentStartToken)


def formatted(text: str, name: str) -> str:
    """The text of a file, laid out; `name` says by its ending what it is, and is what messages call it.

    Raises:
        ConfigurationError: it cannot be read, or cannot be laid out without losing something.
    """
    return _cedar(text, name) if name.endswith(".cedar") else _yaml(text, name)


def _cedar(text: str, name: str) -> str:
    if not re.sub(r"//[^\n]*", "", text).strip():
        return text  # nothing but comments
    head = _HEAD.match(text)
    about = head[0] if head else ""
    try:
        body = cedarpy.format_policies(text[len(about) :], line_width=WIDTH, indent_width=_STEP)
        laid = (f"{about.strip()}\n\n" if about else "") + body.strip() + "\n"
        same = _cedar_meaning(laid) == _cedar_meaning(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{name}:1: not Cedar: {error}", hint="`broker policy check` says where"
        ) from error
    if not same or _cedar_comments(laid) != _cedar_comments(text):
        raise _lossy(name)
    return laid


def _cedar_meaning(text: str) -> object:
    return json.loads(cedarpy.policies_to_json_str(text))


def _cedar_comments(text: str) -> list[str]:
    pieces = re.finditer(r'"(?:[^"\\]|\\.)*"|//([^\n]*)', text)
    return sorted(piece[1].strip() for piece in pieces if piece[1] is not None)


def _yaml(text: str, name: str) -> str:
    try:
        tokens, root = _read(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{name}:{line}: not YAML: {error.problem or error.context}") from error
    if root is None:
        return text
    for token in tokens:
        if isinstance(token, _ANCHORS):
            raise ConfigurationError(
                f"{name}:{token.start_mark.line + 1}: anchors, tags and document marks are not laid out",
                hint="write the value out where it is used",
            )
    layout = _Layout(text, _comments(text, tokens))
    laid = layout.whole(root)
    if not _says_the_same(laid, root, layout.comments):
        raise _lossy(name)
    return laid


def _read(text: str) -> tuple[list[yaml.Token], yaml.Node | None]:
    """The tokens of a text, and what they come to."""
    tokens = cast("list[yaml.Token]", list(yaml.scan(text, yaml.SafeLoader)))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - no stubs
    root = cast("yaml.Node | None", yaml.compose(text, yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType] - no stubs
    return tokens, root


def _lossy(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name}:1: cannot be laid out without changing it, so it is left as it is",
        hint="move comments out of the middle of values",
    )


@dataclass(frozen=True, slots=True)
class _Comment:
    line: int
    column: int
    text: str
    alone: bool


@dataclass(slots=True)
class _Line:
    """One line of the result, and the lines of the source that it comes from."""

    indent: int
    text: str
    first: int
    last: int
    column: int
    after: tuple[str, ...] = ()
    """Further lines as they are: the body of a text block."""


def _comments(text: str, tokens: list[yaml.Token]) -> list[_Comment]:
    """What follows a `#` that does not stand within a value."""
    hidden = [
        (token.start_mark.index, _end(token)) for token in tokens if isinstance(token, yaml.ScalarToken)
    ]
    found: list[_Comment] = []
    at = 0
    for number, line in enumerate(text.split("\n")):
        for mark in re.finditer(r"(?:^|(?<=\s))#", line):
            index = at + mark.start()
            if not any(start <= index < end for start, end in hidden):
                alone = not line[: mark.start()].strip()
                found.append(_Comment(number, mark.start(), line[mark.start() :].rstrip(), alone))
                break
        at += len(line) + 1
    return found


def _end(token: yaml.ScalarToken) -> int:
    """Where the text of a scalar ends. A block's mark stands after the comments that follow it."""
    if token.style not in _TEXT_STYLES:
        return cast("int", token.end_mark.index)
    start, end = token.start_mark, token.end_mark
    lines = cast("str", start.buffer)[start.pointer : start.pointer + end.index - start.index].split("\n")
    body = [line for line in lines[1:] if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in body[:1]), default=0)
    kept = lines[:1]
    for line in lines[1:]:
        if line.strip() and len(line) - len(line.lstrip()) < margin:
            break
        kept.append(line)
    return cast("int", start.index) + len("\n".join(kept))


@dataclass(slots=True)
class _Layout:
    source: str
    comments: list[_Comment]
    lines: list[_Line] = field(default_factory=list[_Line])

    def whole(self, root: yaml.Node) -> str:
        """The document, its comments woven in again, with single blank lines where there were some."""
        self._block(root, 0)
        out: list[str] = []
        todo = list(self.comments)
        blank = {n for n, line in enumerate(self.source.split("\n")) if not line.strip()}
        opened: list[_Line] = []
        for line in self.lines:
            while todo and todo[0].alone and todo[0].line < line.first:
                comment = todo.pop(0)
                _space(out, blank, comment.line)
                out.append(" " * _margin(comment, opened, line) + comment.text)
            _space(out, blank, line.first)
            *above, trailing = ["", *(todo.pop(0).text for _ in self._within(todo, line))]
            out += [" " * line.indent + comment for comment in above if comment]
            out += [" " * line.indent + line.text + (trailing and f"  {trailing}"), *line.after]
            opened.append(line)
        for comment in todo:
            _space(out, blank, comment.line)
            out.append(" " * _margin(comment, opened, None) + comment.text)
        return "\n".join(out).strip("\n") + "\n"

    def _within(self, todo: list[_Comment], line: _Line) -> list[_Comment]:
        return [comment for comment in todo if not comment.alone and comment.line <= line.last]

    def _block(self, node: yaml.Node, indent: int) -> None:
        match node:
            case yaml.MappingNode() if node.value:
                for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
                    self._entry(key, value, indent)
            case yaml.SequenceNode() if node.value:
                for item in cast("list[yaml.Node]", node.value):
                    self._item(item, indent)
            case _:
                self._add(indent, self._inline(node), node)

    def _entry(self, key: yaml.Node, value: yaml.Node, indent: int) -> None:
        name = self._inline(key)
        if not self._fits(value, indent + len(name) + 2):
            self._add(indent, f"{name}:", key)
            self._block(value, indent + _STEP)
        elif isinstance(value, yaml.ScalarNode) and value.style in _TEXT_STYLES:
            head, body = self._text_block(value, indent + _STEP)
            self._add(indent, f"{name}: {head}", key, value, after=body)
        else:
            self._add(indent, f"{name}: {self._inline(value)}".rstrip(), key, value)

    def _item(self, item: yaml.Node, indent: int) -> None:
        start = len(self.lines)
        if self._fits(item, indent + _STEP) and not (
            isinstance(item, yaml.ScalarNode) and item.style in _TEXT_STYLES
        ):
            self._add(indent, f"- {self._inline(item)}".rstrip(), item)
            return
        if isinstance(item, yaml.ScalarNode):
            head, body = self._text_block(item, indent + _STEP)
            self._add(indent, f"- {head}", item, after=body)
            return
        self._block(item, indent + _STEP)
        first = self.lines[start]
        first.indent, first.text = indent, f"- {first.text}"

    def _add(self, indent: int, text: str, *nodes: yaml.Node, after: tuple[str, ...] = ()) -> None:
        first, last = nodes[0].start_mark, nodes[-1]
        end = last.end_mark.line - (1 if last.end_mark.column == 0 and last.end_mark.line > first.line else 0)
        self.lines.append(_Line(indent, text, first.line, max(end, first.line), first.column, after))

    def _fits(self, node: yaml.Node, column: int) -> bool:
        """Whether a value stands on the line of its key: scalars, and short lists that were written so."""
        if not isinstance(node, yaml.CollectionNode) or not node.value:
            return True
        lines = range(node.start_mark.line, node.end_mark.line)  # a comment after its end is not within it
        commented = any(comment.line in lines for comment in self.comments)
        return node.flow_style is True and not commented and column + len(self._inline(node)) <= WIDTH

    def _inline(self, node: yaml.Node) -> str:
        match node:
            case yaml.MappingNode():
                pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
                inner = ", ".join(f"{self._inline(k)}: {self._inline(v)}".rstrip() for k, v in pairs)
                return f"{{{inner}}}"
            case yaml.SequenceNode():
                return (
                    "[" + ", ".join(self._inline(item) for item in cast("list[yaml.Node]", node.value)) + "]"
                )
            case _:
                raw = self.source[node.start_mark.index : node.end_mark.index]
                return " ".join(line.strip() for line in raw.split("\n")) if "\n" in raw else raw

    def _text_block(self, node: yaml.ScalarNode, indent: int) -> tuple[str, tuple[str, ...]]:
        """A `|` or `>` text: its lines keep their shape, moved to where the block stands now."""
        raw = self.source[node.start_mark.index : node.end_mark.index]
        head, *body = raw.split("\n")
        margin = next((len(line) - len(line.lstrip()) for line in body if line.strip()), 0)
        kept: list[str] = []
        for line in body:
            if line.strip() and len(line) - len(line.lstrip()) < margin:
                break
            kept.append((" " * indent + line[margin:]).rstrip())
        while kept and not kept[-1]:
            kept.pop()
        return re.sub(r"\s+#.*", "", head), tuple(kept)


def _space(out: list[str], blank: set[int], line: int) -> None:
    if line - 1 in blank and out and out[-1]:
        out.append("")


def _margin(comment: _Comment, before: list[_Line], following: _Line | None) -> int:
    """Where a comment of its own line goes: with what follows, unless it stood further in."""
    margin, column = (following.indent, following.column) if following else (0, 0)
    if following and following.text.startswith("- "):
        column -= _STEP
    for line in reversed(before):
        if line.column <= column:
            break
        dash = line.text.startswith("- ")
        at = line.column - _STEP if dash else line.column
        if at <= comment.column and line.indent > margin:
            return line.indent
    return margin


def _says_the_same(laid: str, root: yaml.Node, comments: list[_Comment]) -> bool:
    try:
        tokens, again = _read(laid)
    except yaml.YAMLError:
        return False
    kept = sorted(comment.text for comment in _comments(laid, tokens))
    return again is not None and _value(again) == _value(root) and kept == sorted(c.text for c in comments)


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.tag, node.value
    children = cast("list[Any]", node.value)
    if isinstance(node, yaml.MappingNode):
        return "map", [(_value(key), _value(value)) for key, value in children]
    return "list", [_value(item) for item in children]
