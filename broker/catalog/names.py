"""What is a thing called from outside? One connector's names, mapped both ways.

Tools and prompts: `<prefix>__<name>`, legal for every model API (`[A-Za-z0-9_-]`, at most 64
characters). The catalogue stores the mapping and never parses a name. Resource URIs carry the
prefix in front of their scheme (`git+file:///x`), except `ui:`, whose scheme hosts look at.
An empty prefix passes every name through untouched.
"""

import hashlib
import re

from broker.errors import ConfigurationError

_LEGAL_PREFIX = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64
_LONGEST_PREFIX = 32
_UI = "ui://"


class Names:
    """The names of one connector's things.

    Args:
        prefix: lower-case letters, digits, single `-` and `_`; empty to pass names through.

    Raises:
        ConfigurationError: the prefix is not legal.
    """

    def __init__(self, prefix: str) -> None:
        if prefix and not legal_prefix(prefix):
            raise ConfigurationError(
                f"`{prefix}` cannot be the prefix of a connector",
                hint="use up to 32 lower-case letters and digits, with single `-` or `_` between them",
            )
        self.prefix = prefix
        scheme = prefix.replace("_", "-")
        # A URI scheme starts with a letter (RFC 3986 §3.1).
        self._scheme = f"{scheme if scheme[:1].isalpha() else f'c{scheme}'}+" if prefix else ""
        self._ui = f"{_UI}{scheme}/"

    def exposed(self, name: str) -> str:
        """The outside name of a tool or prompt. Illegal or overlong ones end in a digest of the original."""
        if not self.prefix:
            return name
        plain = f"{self.prefix}__{name}"
        legal = _ILLEGAL.sub("_", plain)
        if legal == plain and len(plain) <= _LONGEST:
            return plain
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return f"{legal[: _LONGEST - 9]}_{digest}"

    def exposed_uri(self, uri: str) -> str:
        """The outside form of a resource URI or URI template."""
        if not self.prefix:
            return uri
        if uri.startswith(_UI):
            return self._ui + uri[len(_UI) :]
        return self._scheme + uri

    def upstream_uri(self, uri: str) -> str | None:
        """The upstream's form of an outside URI; None if it is not one of this connector's."""
        if not self.prefix:
            return uri
        if uri.startswith(self._ui):
            return _UI + uri[len(self._ui) :]
        return uri[len(self._scheme) :] if uri.startswith(self._scheme) else None


def legal_prefix(prefix: str) -> bool:
    """Whether a connector's names may begin with this."""
    return len(prefix) <= _LONGEST_PREFIX and _LEGAL_PREFIX.fullmatch(prefix) is not None
