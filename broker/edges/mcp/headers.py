"""Do the headers say the same as the body? MCP 2026-07-28, transports: intermediaries route on headers,
so a request whose headers and body disagree is refused before anybody looks at it.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from broker.edges.mcp.wire import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    META_CAPABILITIES,
    META_VERSION,
    MODERN_VERSIONS,
    UNSUPPORTED_VERSION,
    Rejected,
)
from broker.model import Json, Target

VERSION: Final = b"mcp-protocol-version"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"
SESSION: Final = b"mcp-session-id"
PARAM_PREFIX: Final = b"mcp-param-"
ROUTING: Final = frozenset({VERSION, METHOD, NAME, SESSION})

NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which parameter `Mcp-Name` repeats, by method."""

_ENCODED = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 §5.6.2."""
_INTEGER = re.compile(r"-?[0-9]+(\.0+)?")
MOST_DIGITS: Final = 320
"""No JSON number that is read here has more: the largest float has 309."""


class Fields:
    """The header fields of one request, read once (RFC 9110 §5).

    Whitespace around a value is no part of it; the values of a repeated field are joined by commas.
    """

    __slots__ = ("_values", "repeated")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, bytes] = {}
        self.repeated: set[bytes] | None = None
        for name, value in raw:
            if name in self._values:
                self.repeated = (self.repeated or set()) | {name}
                self._values[name] += b", " + value
            else:
                self._values[name] = value

    def get(self, name: bytes) -> str | None:
        """The value of a field; None if it is absent."""
        value = self._values.get(name)
        return None if value is None else value.strip(b" \t").decode("latin-1")

    def once(self, names: frozenset[bytes]) -> None:
        """Refuse a repeated field: readers of the first and of the last would disagree.

        Raises:
            Rejected: one of `names` is repeated.
        """
        if self.repeated and (twice := self.repeated & names):
            raise Rejected(HEADER_MISMATCH, f"the header {_shown(min(twice))} is there more than once")


def check_envelope(fields: Fields, method: str, params: Json) -> Json:
    """The `_meta` of a modern request, once it, the headers and the body agree.

    Raises:
        Rejected: -32602 without the envelope, -32020 where they differ, -32022 for another revision.
    """
    fields.once(ROUTING)
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        raise Rejected(
            INVALID_PARAMS, f"`params._meta` has to hold `{META_VERSION}` and `{META_CAPABILITIES}`"
        )
    meta = cast("Json", meta)
    for key in (META_VERSION, META_CAPABILITIES):
        if key not in meta:
            raise Rejected(INVALID_PARAMS, f"`params._meta` lacks `{key}`")
    version = meta[META_VERSION]
    if fields.get(VERSION) != version:
        raise _differs(VERSION, META_VERSION)
    if fields.get(METHOD) != method:
        raise _differs(METHOD, "method")
    key = NAMED_BY.get(method)
    if key and (named := params.get(key)) is not None and decode(fields.get(NAME)) != named:
        raise _differs(NAME, f"params.{key}")
    if version not in MODERN_VERSIONS:
        raise unsupported(version)
    if not isinstance(meta[META_CAPABILITIES], dict):
        raise Rejected(INVALID_PARAMS, f"`{META_CAPABILITIES}` is an object")
    return meta


def unsupported(version: str) -> Rejected:
    """The refusal of a revision that is not spoken here without a session."""
    data = {"supported": list(MODERN_VERSIONS), "requested": version}
    return Rejected(UNSUPPORTED_VERSION, "this protocol version is not supported", data=data)


def decode(value: str | None) -> str | None:
    """A header value in plain; what is not valid `=?base64?…?=` is None, so that it equals nothing."""
    if value is None or (match := _ENCODED.fullmatch(value)) is None:
        return value
    try:
        data = base64.b64decode(match[1], validate=True)
        plain = data.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return plain if base64.b64encode(data).decode() == match[1] else None


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """One parameter of a tool that callers repeat in a header (`x-mcp-header` in its schema)."""

    field: bytes
    path: tuple[str, ...]
    type: str

    def check(self, fields: Fields, arguments: Json) -> None:
        """Refuse a header that is absent, superfluous, repeated or different from the argument.

        Raises:
            Rejected: -32020.
        """
        fields.once(frozenset({self.field}))
        said = fields.get(self.field)
        value = self._argument(arguments)
        expected = _rendered(value)
        if said is None and expected is None:
            return
        where = f"params.arguments.{'.'.join(self.path)}"
        if said is None or expected is None:
            raise _differs(self.field, where)
        plain = decode(said)
        if plain is None or not (plain == expected or self._same_integer(plain, value)):
            raise _differs(self.field, where)

    def _argument(self, arguments: Json) -> Any:
        value: Any = arguments
        for key in self.path:
            if not isinstance(value, dict):
                return None
            value = cast("Json", value).get(key)
        return value

    def _same_integer(self, plain: str, value: Any) -> bool:
        """`42` and `42.0` are the same integer."""
        if self.type != "integer" or not _INTEGER.fullmatch(plain):
            return False
        if type(value) is not int and not (type(value) is float and value.is_integer()):
            return False
        whole = plain.partition(".")[0]
        return len(whole) <= MOST_DIGITS and int(whole) == int(value)


class ParamHeaders:
    """The headers that each tool's parameters need, worked out once for a definition."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Json, tuple[ParamHeader, ...]]] = {}
        self._version = -1

    def of(self, target: Target, catalogue_version: int) -> tuple[ParamHeader, ...]:
        """The annotated parameters of a tool; none where an annotation breaks the rules of `x-mcp-header`."""
        if catalogue_version != self._version:
            self._known, self._version = {}, catalogue_version
        known = self._known.get(target.name)
        if known is None or known[0] is not target.definition:
            headers = param_headers(target.definition.get("inputSchema"))
            known = self._known[target.name] = (target.definition, headers)
        return known[1]


def param_headers(schema: Any) -> tuple[ParamHeader, ...]:
    """What an `inputSchema` asks for. A schema with any invalid annotation asks for nothing: clients
    that follow the rules drop such a tool.
    """
    found: dict[bytes, ParamHeader] = {}
    for path, position in _positions(schema):
        if "x-mcp-header" not in position:
            continue
        token, kind = position["x-mcp-header"], position.get("type")
        if not path or not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return ()
        field = PARAM_PREFIX + token.lower().encode()
        if not isinstance(kind, str) or kind not in {"string", "integer", "boolean"} or field in found:
            return ()
        found[field] = ParamHeader(field, path, kind)
    return tuple(found.values())


_SINGLE: Final = frozenset(
    {
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, Json]]:
    """Every schema in a schema, with its chain of `properties` keys (None: not reachable by such a chain)."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        schema = cast("Json", node)
        yield path, schema
        for keyword, value in schema.items():
            if keyword == "properties" and isinstance(value, dict):
                named = cast("Json", value).items()
                stack += [((*path, name) if path is not None else None, sub) for name, sub in named]
            else:
                stack += [(None, sub) for sub in _subschemas(keyword, value)]


def _subschemas(keyword: str, value: Any) -> Iterable[Any]:
    if keyword in _SINGLE:
        return (value,)
    if keyword in _LISTS and isinstance(value, list):
        return cast("list[Any]", value)
    if keyword in _MAPS and isinstance(value, dict):
        return cast("Json", value).values()
    return ()


def _rendered(value: Any) -> str | None:
    """An argument as clients write it into a header; None for what has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _differs(field: bytes, where: str) -> Rejected:
    return Rejected(HEADER_MISMATCH, f"the header {_shown(field)} does not match `{where}` of the body")


def _shown(field: bytes) -> str:
    return "-".join(part.capitalize() for part in field.decode("latin-1").split("-"))
