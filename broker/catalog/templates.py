"""Does a URI come from a URI template? (RFC 6570; matching is what MCP adds to it.)"""

import re
from collections.abc import Callable

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
# What an expression of each operator may expand to. `+` and `#` may hold reserved characters.
_EXPANSION = {
    "": r"[^/?#&]*",
    "+": r".*",
    "#": r"(?:#.*)?",
    ".": r"(?:\.[^/?#]*)?",
    "/": r"(?:/[^?#]*)?",
    ";": r"(?:;[^/?#]*)*",
    "?": r"(?:\?[^#]*)?",
    "&": r"(?:&[^#]*)?",
}


def matcher(template: str) -> Callable[[str], bool]:
    """A predicate that says whether a URI can be an expansion of the template."""
    pattern, position = "", 0
    for expression in _EXPRESSION.finditer(template):
        pattern += re.escape(template[position : expression.start()]) + _EXPANSION[expression[1]]
        position = expression.end()
    compiled = re.compile(pattern + re.escape(template[position:]))
    return lambda uri: len(uri) <= 8192 and compiled.fullmatch(uri) is not None
