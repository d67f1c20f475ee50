"""Which session is this? Its id says so itself: sealed, so any process reads it and nobody makes one.

Only before 2026-07-28. A session holds what the client said of itself, and no authority: every
request brings its own token, and a session serves no other agent than the one that began it.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol, cast

from broker.edges.mcp.switchboard import Switchboard
from broker.edges.mcp.wire import INVALID_PARAMS, INVALID_REQUEST, LEGACY_VERSIONS, Rejected
from broker.errors import InvalidRequest
from broker.model import Json, Principal

PURPOSE: Final = "session"
LIFETIME_S: Final = 24 * 3600
MOST_CAPABILITIES: Final = 8
LONGEST_NAME: Final = 64
"""Together they keep the id shorter than the headers that servers and proxies accept (8 KiB)."""


class Sealer(Protocol):
    """Seals claims into text that only this deployment can read back, and only unchanged."""

    def seal(self, purpose: str, claims: Json, ttl_s: int) -> str:
        """The claims as visible ASCII, valid for `ttl_s` seconds."""
        ...

    def open(self, purpose: str, token: str) -> Json:
        """The claims that were sealed for this purpose.

        Raises:
            InvalidRequest: tampered with, of another purpose or deployment, or expired.
        """
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """What a client said when it began: its revision and capabilities, and which program it is."""

    id: str
    version: str
    capabilities: Json
    client: Json


class Sessions:
    """Begins sessions and recognises them."""

    def __init__(self, sealer: Sealer, switchboard: Switchboard) -> None:
        self._sealer = sealer
        self._switchboard = switchboard

    def begin(self, principal: Principal, params: Json) -> tuple[str, str]:
        """The id of a new session and the revision it speaks, from the parameters of `initialize`.

        Raises:
            Rejected: a parameter is missing.
        """
        asked, capabilities, client = (
            params.get(key) for key in ("protocolVersion", "capabilities", "clientInfo")
        )
        if not isinstance(asked, str) or not isinstance(capabilities, dict) or not isinstance(client, dict):
            raise Rejected(
                INVALID_PARAMS, "`initialize` needs `protocolVersion`, `capabilities`, `clientInfo`"
            )
        version = asked if asked in LEGACY_VERSIONS else LEGACY_VERSIONS[-1]
        claims: Json = {
            "sid": secrets.token_hex(16),
            "version": version,
            "agent": principal.agent.id,
            "capabilities": _outlined(cast("Json", capabilities)),
            "client": {key: _brief(cast("Json", client).get(key)) for key in ("name", "version")},
        }
        return self._sealer.seal(PURPOSE, claims, LIFETIME_S), version

    def resume(self, token: str | None, principal: Principal) -> Session:
        """The session that an id names. An unknown, foreign or ended one is answered alike.

        Raises:
            Rejected: 400 without an id, 404 for one that is of no use; the client then begins anew.
        """
        if not token:
            raise Rejected(INVALID_REQUEST, "the header Mcp-Session-Id is missing: begin with `initialize`")
        try:
            claims = self._sealer.open(PURPOSE, token)
        except InvalidRequest:
            raise _unknown() from None
        if claims["agent"] != principal.agent.id or self._switchboard.remembered(claims["sid"]).ended:
            raise _unknown()
        return Session(claims["sid"], claims["version"], claims["capabilities"], claims["client"])


def _unknown() -> Rejected:
    return Rejected(INVALID_REQUEST, "there is no such session: begin anew with `initialize`", http=404)


def _outlined(capabilities: Json) -> Json:
    """Capabilities two levels deep, without further settings: enough to know what may be asked."""
    return {
        name: {key: finer if isinstance(finer, bool) else {} for key, finer in _some(cast("Json", value))}
        for name, value in _some(capabilities)
        if isinstance(value, dict)
    }


def _some(fields: Json) -> Iterable[tuple[str, Any]]:
    return islice((item for item in fields.items() if len(item[0]) <= LONGEST_NAME), MOST_CAPABILITIES)


def _brief(value: Any) -> str:
    return value[:100] if isinstance(value, str) else ""
