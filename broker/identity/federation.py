"""Did somebody we trust vouch for this workload? Tokens of other issuers as client assertions (RFC 7523).

A workload that has an identity already (a Kubernetes service account, a SPIFFE JWT-SVID, a CI job)
needs no secret of ours. Such a token may be used until it expires: whoever issues it renews it in its
own time. Only what the operator wrote down maps it to an agent, claim by claim, exactly.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broker.errors import ConfigurationError, InvalidRequest
from broker.identity.assertions import LEEWAY_S, Claim, audience, check_now
from broker.identity.compact import Unverified, seconds
from broker.identity.interface import Evidence
from broker.identity.jwks import LARGEST_JWKS, PublicKey, signer_of, usable_keys
from broker.identity.key_addresses import key_address
from broker.identity.published_keys import PublishedKeys
from broker.model import AgentId, Clock
from broker.settings import FederationSettings

logger = logging.getLogger("broker.identity")

MAX_LIFETIME_S = 86400
"""Longest life of a token of another issuer: none of those that name workloads live longer."""


class KeyFile:
    """The key set of an issuer in a file. A new version is taken into use by itself; a bad one is not.

    Raises:
        ConfigurationError: at first it cannot be read, or holds no key that is accepted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamped()
        self._keys = self._read()

    def keys(self) -> Sequence[PublicKey]:
        """The keys as the file has them now; if it cannot be read, as it had them before."""
        try:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._stamp = stamp
                self._keys = self._read()
        except ConfigurationError as error:
            logger.warning("the previous keys stay in use: %s", error.message)
        return self._keys

    def _stamped(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._unusable(error.strerror) from error
        return status.st_mtime_ns, status.st_size

    def _read(self) -> Sequence[PublicKey]:
        try:
            content = self._path.read_bytes()
            if len(content) > LARGEST_JWKS:
                raise self._unusable("it is too large")
            return usable_keys(content)
        except OSError as error:
            raise self._unusable(error.strerror) from error
        except InvalidRequest as error:
            raise self._unusable(error.message) from error

    def _unusable(self, why: str | None) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path}: no key set of an issuer: {why}", hint="give the issuer's JWKS (RFC 7517 §5)"
        )


@dataclass(frozen=True, slots=True)
class _Issuer:
    audience: str
    keys: Callable[[Unverified], Awaitable[Sequence[PublicKey]]]
    agents: Mapping[str, Mapping[str, str]]


class Federation:
    """Workloads that other issuers vouch for.

    Args:
        issuers: what is in force, by name.
        folder: what relative paths start from.
        published: the keys of issuers that publish theirs.
        own: this authorization server: the audience where none is set.
        clock: Unix time in seconds.

    Raises:
        ConfigurationError: a key set cannot be read or may not be fetched, or two sections name the
            same issuer.
    """

    def __init__(
        self,
        issuers: Mapping[str, FederationSettings],
        folder: Path,
        own: str,
        clock: Clock,
        *,
        published: PublishedKeys,
    ) -> None:
        self._clock = clock
        self._issuers: dict[str, _Issuer] = {}
        for name, section in issuers.items():
            if section.issuer in self._issuers:
                raise ConfigurationError(f"federation.{name}: `{section.issuer}` is configured twice")
            keys = _keys_of(name, section, folder, published)
            self._issuers[section.issuer] = _Issuer(section.audience or own, keys, section.agents)

    def knows(self, claim: Claim) -> bool:
        """Whether a token says that it is of one of these issuers."""
        return claim.issuer in self._issuers

    def agent(self, claim: Claim) -> AgentId | None:
        """The one agent whose every claim is in a token just as it is written down; nothing is verified.

        A token that fits several agents fits none: which one acts must not depend on an order.
        """
        claims = claim.token.claims
        found = [
            agent
            for agent, wanted in self._issuers[claim.issuer].agents.items()
            if all(claims.get(name) == value for name, value in wanted.items())
        ]
        return AgentId(found[0]) if len(found) == 1 else None

    async def proves(self, claim: Claim) -> Evidence | None:
        """That the issuer signed a token, for us, and it holds now; None if it does not."""
        issuer = self._issuers[claim.issuer]
        if signer_of(claim.token, await issuer.keys(claim.token)) is None:
            return None
        try:
            self._check(claim, issuer)
        except ValueError:
            return None
        return Evidence("workload_token", None, claim.issuer)

    def _check(self, claim: Claim, issuer: _Issuer) -> None:
        claims, now = claim.token.claims, self._clock()
        if audience(claims) != issuer.audience:
            raise ValueError("for somebody else")
        check_now(claims, now)
        if seconds(claims, "exp") > now + MAX_LIFETIME_S:
            raise ValueError("lives too long")
        if "iat" in claims and seconds(claims, "iat") > now + LEEWAY_S:
            raise ValueError("from the future")


def _keys_of(
    name: str, section: FederationSettings, folder: Path, published: PublishedKeys
) -> Callable[[Unverified], Awaitable[Sequence[PublicKey]]]:
    """Where the keys of an issuer come from: its file, or its address."""
    if section.jwks is not None:
        file = KeyFile(folder / section.jwks)

        async def filed(_: Unverified) -> Sequence[PublicKey]:
            return file.keys()

        return filed
    try:
        url = key_address(section.jwks_uri or "", allow_private=section.allow_private)
    except InvalidRequest as error:
        raise ConfigurationError(f"federation.{name}.jwks_uri: {error.message}", hint=error.hint) from error
    return partial(published.fitting, url, allow_private=section.allow_private)
