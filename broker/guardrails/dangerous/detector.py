"""Which arguments would do something else than what their field is for?"""

from collections.abc import Callable, Mapping, Sequence

from broker.documents import Node
from broker.guardrails.dangerous import payloads
from broker.guardrails.dangerous.roles import Role, role_of
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import Message, Passage
from broker.model import Target
from broker.patterns import matches

_READ: Mapping[Role, Callable[[str], str | None]] = {
    Role.PATH: payloads.in_path,
    Role.FILENAME: payloads.in_filename,
    Role.ID: payloads.in_id,
    Role.URL: payloads.in_url,
}

_Declared = tuple[tuple[str, Mapping[str, Role]], ...]
"""Globs over tools, and the roles of their arguments by name."""


class Dangerous:
    """The detector `dangerous`. It reads what stands in `arguments`, by the role of each field."""

    name = "dangerous"
    version = 1
    always = True
    literals: frozenset[str] = frozenset()
    stages = frozenset({Stage.ARGUMENTS})
    types: Mapping[str, str] = {
        "path-traversal": "path",
        "sensitive-path": "path",
        "stream-wrapper": "path",
        "nul-byte": "path",
        "parent-path": "relative",
        "sql": "code",
        "shell": "code",
        "url-scheme": "url",
        "malformed-url": "url",
        "deceptive-url": "url",
        "internal-address": "url",
        "metadata-service": "metadata",
    }

    def __init__(self, declared: _Declared = ()) -> None:
        self._declared = declared

    def detect(self, message: Message, _: Hits, /) -> Sequence[Span]:
        """See `Detector.detect`; a finding is the whole argument."""
        spans: list[Span] = []
        target = message.scene.target
        for number, passage in enumerate(message.passages):
            read = _READ.get(self._role(target, passage)) if passage.name and not passage.is_key else None
            if read and (kind := read(passage.value)):
                spans.append(Span(*message.bounds(number), kind))
        return spans

    def _role(self, target: Target, passage: Passage) -> Role:
        path = passage.path
        if path[:1] != ("arguments",):
            return Role.NONE
        for glob, roles in self._declared:
            if passage.name in roles and matches(glob, target.name):
                return roles[passage.name]
        return role_of(target, path)


def make_dangerous(settings: Node | None) -> Dangerous:
    """The guard `dangerous`; `roles` says what arguments are for where their names do not.

    Raises:
        ConfigurationError: a mistake in the settings.
    """
    if settings is None:
        return Dangerous()
    fields = settings.mapping(("roles",), required=("roles",))
    declared = [
        (glob.text(), {name.text(): Role(role.one_of(list(Role))) for name, role in roles.pairs()})
        for glob, roles in fields["roles"].pairs("a glob over tools: {argument: role}")
    ]
    return Dangerous(tuple(declared))
