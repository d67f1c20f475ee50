"""When does an entry of a role hold? `amount <= 50 and to like '*@acme.example'`, translated to Cedar.

    condition  = all { "or" all }
    all        = not { "and" not }
    not        = "not" not | "(" condition ")" | comparison
    comparison = number ( == | != | < | <= | > | >= ) literal
               | text ( == | != ) literal | text "like" literal
               | ( number | text ) "in" "[" literal { "," literal } "]"
               | "taint" "contains" literal

A number or a text is an argument that `tools/*.yaml` declares or one of the `FACTS`. An amount is written in
whole units (`49.90`), whatever its scale. An argument that a condition names has to be there: where it is
missing the condition does not hold, whatever is asked about it.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

from broker.documents import Node, did_you_mean
from broker.errors import ConfigurationError
from broker.model import Argument, Origin

COUNTERS = ("calls", "target_calls", "identical", "writes", "destinations", "calls_hour", "writes_hour")
"""What `Situation.counters` counts besides `sum.<number>` and `distinct.<text>` of declared arguments."""


class Type(Enum):
    """What can be asked of a name."""

    NUMBER = auto()
    TEXT = auto()
    LABELS = auto()


@dataclass(frozen=True, slots=True)
class Name:
    """What a name of a condition is in Cedar; `needs` is what has to be there first.

    Where there are `choices`, its text is one of them.
    """

    cedar: str
    type: Type
    scale: int = 0
    needs: str | None = None
    choices: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it was written, and as Cedar."""

    text: str
    cedar: str


FACTS: Mapping[str, Name] = {
    "depth": Name("context.depth", Type.NUMBER),
    "attestation": Name("context.attestation", Type.NUMBER),
    "trust": Name("context.min_trust", Type.NUMBER),
    "hour": Name("context.hour", Type.NUMBER),
    "task": Name("context.task", Type.TEXT, needs="context has task"),
    "taint": Name("context.taint", Type.LABELS),
    **{f"counters.{name}": Name(f"context.counters.{name}", Type.NUMBER) for name in COUNTERS},
}
"""What is known of every call."""

_LARGEST = 2**63 - 1
_LONGEST = 2_000
_DEEPEST = 32
_ORIGINS = tuple(str(origin) for origin in Origin)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?[0-9]+(?:\.[0-9]+)?)(?![A-Za-z0-9_.])|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)|(?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,))"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ORDER = ("==", "!=", "<=", ">=", "<", ">")
_WORDS = frozenset({"and", "or", "not", "in", "like", "contains"})


def names_of(arguments: Sequence[Argument]) -> Mapping[str, Name]:
    """Everything that a condition can speak about where these arguments are declared."""
    names = dict(FACTS)
    for argument in arguments:
        name = argument.name
        if argument.scale is None:
            names[name] = Name(f"context.str.{name}", Type.TEXT, needs=f"context.str has {name}")
            names[f"distinct.{name}"] = Name(f"context.distinct.{name}", Type.NUMBER)
        else:
            scale, has = argument.scale, f"context.num has {name}"
            names[name] = Name(f"context.num.{name}", Type.NUMBER, scale, has)
            names[f"sums.{name}"] = Name(f"context.sums.{name}", Type.NUMBER, scale)
        where = f"context.provenance.{name}"
        needs = f"context.provenance has {name}"
        names[f"provenance.{name}"] = Name(where, Type.TEXT, needs=needs, choices=_ORIGINS)
    return names


def read_condition(node: Node, names: Mapping[str, Name]) -> Condition:
    """The condition in a text of a role file.

    Raises:
        ConfigurationError: it does not follow the grammar, or names what nobody declared.
    """
    text = node.text()
    parser = _Parser(node, names, _tokens(node, text))
    body = parser.condition()
    parser.end()
    guards = "".join(f"{need} && " for need in dict.fromkeys(parser.needs))
    return Condition(" ".join(text.split()), f"{guards}({body})")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: str


def _tokens(node: Node, text: str) -> list[_Token]:
    if len(text) > _LONGEST:
        raise node.error(f"a condition has at most {_LONGEST} characters", "write several entries")
    found: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            rest = text[at:end].strip()
            raise node.error(f"`{rest[:40]}` cannot be read here", "texts stand in quotes, numbers have none")
        found.append(_Token(token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return found


class _Parser:
    """Reads tokens from left to right and writes Cedar; types are checked on the way."""

    def __init__(self, node: Node, names: Mapping[str, Name], tokens: Sequence[_Token]) -> None:
        self._node = node
        self._names = names
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self.needs: list[str] = []

    def condition(self) -> str:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return " || ".join(parts)

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._error(
                f"`{self._tokens[self._at].value}` is too much", "join comparisons by `and` or `or`"
            )

    def _all(self) -> str:
        parts = [self._not()]
        while self._takes("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else f"({' && '.join(parts)})"

    def _not(self) -> str:
        if self._takes("not"):
            return f"!({self._deeper(self._not)})"
        if self._takes("("):
            inside = self._deeper(self.condition)
            self._expect(")")
            return f"({inside})"
        return self._comparison()

    def _deeper(self, read: Callable[[], str]) -> str:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("is nested too deeply", "write several entries")
        inside = read()
        self._depth -= 1
        return inside

    def _comparison(self) -> str:
        name = self._name()
        sign = self._next("a comparison").value
        if sign == "in" and name.type is not Type.LABELS:
            return f"[{', '.join(self._list(name))}].contains({name.cedar})"
        if sign == "contains" and name.type is Type.LABELS:
            return f"{name.cedar}.contains({self._literal(name)})"
        if sign == "like" and name.type is Type.TEXT:
            return f"{name.cedar} like {self._literal(name, pattern=True)}"
        if sign in _ORDER[:2] and name.type is Type.TEXT:
            return f"{name.cedar} {sign} {self._literal(name)}"
        if sign in _ORDER and name.type is Type.NUMBER:
            return f"{name.cedar} {sign} {self._literal(name)}"
        raise self._error(f"`{sign}` cannot be asked of {_ARTICLE[name.type]}", _ASKED[name.type])

    def _name(self) -> Name:
        token = self._next("the name of an argument or a fact")
        name = self._names.get(token.value) if token.kind == "word" else None
        if name is None:
            raise self._unknown(token)
        if name.needs:
            self.needs.append(name.needs)
        return name

    def _unknown(self, token: _Token) -> ConfigurationError:
        if token.kind != "word" or token.value in _WORDS:
            return self._error(
                f"`{token.value}` where a name belongs", "a comparison begins with a name: `amount <= 50`"
            )
        known = ", ".join(f"`{name}`" for name in sorted(self._names) if "." not in name)
        hint = did_you_mean(token.value, self._names) or f"known: {known}; `tools/*.yaml` declares arguments"
        return self._error(f"nothing declares `{token.value}`", hint)

    def _list(self, name: Name) -> list[str]:
        self._expect("[")
        found = [self._literal(name)]
        while self._takes(","):
            found.append(self._literal(name))
        self._expect("]")
        return found

    def _literal(self, name: Name, *, pattern: bool = False) -> str:
        token = self._next("a value")
        if name.type is Type.NUMBER:
            if token.kind != "number":
                raise self._error(f"`{token.value}` where a number belongs")
            return self._scaled(token.value, name.scale)
        if token.kind != "text":
            raise self._error(
                f"`{token.value}` where a text belongs", "put texts in quotes: `region == 'eu'`"
            )
        text = token.value[1:-1]
        if name.choices and not pattern and text not in name.choices:
            hint = f"possible: {', '.join(name.choices)}"
            raise self._error(f"`{text}` is not possible here", did_you_mean(text, name.choices) or hint)
        if _CONTROL.search(text):
            raise self._error("a text holds a control character")
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    def _scaled(self, text: str, scale: int) -> str:
        value = Decimal(text).scaleb(scale)
        if value != value.to_integral_value():
            hint = f"it is declared with {scale} decimal places"
            raise self._error(f"`{text}` is finer than what it is compared with", hint)
        if abs(value) > _LARGEST:
            raise self._error(f"`{text}` is too large")
        return str(int(value))

    def _takes(self, value: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].value == value:
            self._at += 1
            return True
        return False

    def _expect(self, value: str) -> None:
        if not self._takes(value):
            found = self._tokens[self._at].value if self._at < len(self._tokens) else "the end"
            raise self._error(f"`{found}` where `{value}` belongs")

    def _next(self, what: str) -> _Token:
        if self._at == len(self._tokens):
            raise self._error(f"the condition ends where {what} belongs")
        self._at += 1
        return self._tokens[self._at - 1]

    def _error(self, message: str, hint: str | None = None) -> ConfigurationError:
        return self._node.error(message, hint)


_ARTICLE = {Type.NUMBER: "a number", Type.TEXT: "a text", Type.LABELS: "labels"}
_ASKED = {
    Type.NUMBER: "numbers: == != < <= > >= and `in [1, 2]`",
    Type.TEXT: "texts: == != `in ['a', 'b']` and `like 'a*'`",
    Type.LABELS: "labels: `taint contains 'pii'`",
}
