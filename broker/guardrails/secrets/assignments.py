"""Which values are secrets because of the name they are given to? `DB_PASSWORD=…`, `"api_key": "…"`."""

import re
from collections.abc import Iterator

from broker.guardrails.secrets.formats import compile_pattern, entropy, is_placeholder

MARKS = ("passw", "passphrase", "pwd", "secret", "token", "key", "credential", "creds", "auth")
"""In lower case; one of them is in every name that speaks of a secret."""

_LONGEST_NAME = 64
_LONGEST_VALUE = 4096

_SECRET_NAME = re.compile(
    r"passw(?:or)?d|passphrase|(?:^|[_.-])pwd|secret|token|credential|creds|"
    r"(?:api|access|auth|private|signing|encryption|account|master|license|service)[_.-]?key|[a-z0-9][_-]key$|^_?auth$",
    re.IGNORECASE,
)
_OTHER_NAME = re.compile(
    r"(?:page|next|prev(?:ious)?|cursor|continu\w*|sync|resume|skip|shift|csrf|xsrf|cancel\w*|public|pub|publishable|"
    r"primary|foreign|partition|sort|cache|idempotency|bucket|object|natural|schema|sequence|hot|row|group|lookup|translation|"
    r"max|min|total|prompt|completion|input|output|eos|bos|pad|stop|special)[_.-]?(?:tokens?|keys?)"
    r"|(?:token|key|secret|passw(?:or)?d|credential)s?[_.-]?(?:id|ids|name|names|type|url|uri|endpoint|file|path|dir|length|size|"
    r"count|policy|expir\w*|ttl|version|format|hint|status|alias|pair|board|word|code|field|label|store|ring|vault|arn|ref)s?$"
    r"|tokeniz|tokenis|monkey|turkey|keyboard|hockey|author|accessor|credentials?[_.-]?id",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(
    r"(?:[A-Za-z]?[a-z]+|[A-Z]+|v?\d{1,4})(?:[-_.:/@~+]+(?:[A-Za-z]?[a-z]+|[A-Z]+|v?\d{1,6}))*|"
    r"(?:[a-z]+|[A-Z][a-z]+|[A-Z]+)(?:[A-Z][a-z]+)*\d{0,4}"
)
_OTHER_VALUE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\d.,:TZ+ -]+|"
    r"[a-z][a-z0-9+.-]*://.*|(?:\.{0,2}/|~/|[a-z]:\\).*|"
    r"(?:sha\d+|md5)[-:].*|arn:.*|[\w.-]+@[\w.-]+|(?:this|self|process|os|env|config|options?|props|ctx|req|request)\..*",
    re.IGNORECASE,
)
_HEX = re.compile(r"[0-9a-fA-F]+")
_NAME_BEFORE = re.compile(rb"[\w.-]*\Z")
_ASSIGNED = compile_pattern(
    r"""([\w.-]{0,30})["'\x60\\]{0,3}\s{0,4}(?::=|=>|={1,3}|:|\|\||>)\s{0,4}"""
    r"""(?:["'\x60\\]{1,4}([^"'\x60\\\s]{8,})(?:["'\x60\\]|$)|([^\s"'\x60,;<>(){}\[\]\\$&|]{8,}))"""
)


def find_assigned(text: bytes, marks: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Values in `text` that are given to a name with a mark in it; `marks` are the places of the marks."""
    read = 0  # a mark inside a value that has been read says nothing new; and each byte is read once
    for start, end in marks:
        found = _ASSIGNED.match(text, end) if start >= read else None
        if found is None:
            continue
        quoted, bare = found.span(2), found.span(3)
        span = quoted if quoted[0] >= 0 else bare
        read = span[1]
        before = _NAME_BEFORE.search(text[max(0, start - _LONGEST_NAME) : start])
        name = (before[0] if before else b"") + text[start : found.span(1)[1]]
        if names_secret(name.decode("latin-1")) and is_secret(text[slice(*span)].decode("latin-1")):
            yield span


def names_secret(name: str) -> bool:
    """Whether a name speaks of a secret: `db_password` does, `next_page_token` and `token_type` do not."""
    return _SECRET_NAME.search(name) is not None and _OTHER_NAME.search(name) is None


def is_secret(value: str) -> bool:
    """Whether a value may be a secret: letters and digits without the order of words, paths or numbers."""
    if not 8 <= len(value) <= _LONGEST_VALUE or not any(c.isdigit() for c in value):
        return False
    if not any(c.isalpha() for c in value) or any(c.isspace() for c in value):
        return False
    if _OTHER_VALUE.fullmatch(value) or _IDENTIFIER.fullmatch(value):
        return False
    raw = value.encode("utf-8")
    return not is_placeholder(raw) and entropy(raw) >= _least_entropy(value)


def _least_entropy(value: str) -> float:
    if _HEX.fullmatch(value):
        return 2.8 if len(value) >= 16 else 9.0
    return 2.7 if len(value) < 12 else 3.0 if len(value) < 16 else 3.4
