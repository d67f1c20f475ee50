"""What stands behind what is said of an agent? Manifests that its owner or its build has signed.

A manifest is a compact JWS over canonical JSON (RFC 7515, RFC 8785): which agent in which version, on
which model, with which prompt, tools and code. An operator hands it in with the key that it has to be
signed with. It counts until `not_after`, and as long as nothing contradicts it: not the agent's record,
and not what the running agent says of itself.

An agent that authenticates with a key may say in its client assertion what it is: `manifest_sha256`, the
SHA-256 of its manifest's JWS in hex, `agent_model` and `agent_model_version`. The operator's manifest is
what that is held against.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Final

import orjson
from joserfc.util import urlsafe_b64decode

from broker.errors import InvalidRequest
from broker.identity.compact import Unverified, read, seconds, text
from broker.identity.jwks import ALGORITHMS, PublicKey
from broker.model import Agent, Attestation, Json, Manifest

TYPE: Final = "agent-manifest+jws"
"""`typ` of the header: no other token of this signer is taken for a manifest (RFC 8725 §3.11)."""

LONGEST_S = 400 * 86_400
_MEMBERS = frozenset({"alg", "typ", "kid"})
_DIGESTS = ("prompt_sha256", "tools_sha256", "code_sha256")
_TEXTS = ("agent", "version", "model", "model_version", "owner")
_CLAIMS = frozenset({*_TEXTS, *_DIGESTS, "not_after"})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMPARED = ("model", "model_version", "owner")
STATEMENT: Final = {
    "manifest_sha256": "digest",
    "agent_model": "model",
    "agent_model_version": "model_version",
}
"""Claims of a client assertion by which an agent says what it is, and what of its manifest they are."""


def verified_manifest(compact: str, key: PublicKey, now: float) -> Manifest:
    """What a manifest says, if this key signed it and it has not ended.

    Args:
        compact: the JWS.
        key: what it has to be signed with.
        now: Unix seconds.

    Raises:
        InvalidRequest: it is not one; says what is wrong with it.
    """
    try:
        return _manifest(compact, key, now)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"this manifest does not count: {error}", hint="have its owner sign it anew"
        ) from error


def attested(agent: Agent, manifest: Manifest) -> Agent:
    """An agent with its manifest; what its record did not say so far is what the manifest says.

    This is the new baseline, so a drift from the one before is over.

    Raises:
        InvalidRequest: the manifest is of another agent, or contradicts the record.
    """
    if manifest.agent != agent.id:
        raise InvalidRequest(f"this is the manifest of `{manifest.agent}`, not of `{agent.id}`")
    for field in _COMPARED:
        if getattr(agent, field) not in (None, getattr(manifest, field)):
            raise InvalidRequest(
                _contradiction(agent, manifest, field),
                hint=f"set what is true first: `broker agent set {agent.id}`",
            )
    told = {field: getattr(manifest, field) for field in _COMPARED}
    return replace(agent, manifest=manifest, drift=None, **told)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which what is there differs from the baseline."""

    what: str
    baseline: str | None
    now: str | None


def differences(before: Manifest | None, after: Manifest) -> list[Difference]:
    """What a new manifest changes of the one before it; all of it where there is none before."""
    names = [field.name for field in fields(Manifest) if field.name != "agent"]
    found = [
        (name, None if before is None else getattr(before, name), getattr(after, name)) for name in names
    ]
    return [
        Difference(name, None if was is None else str(was), str(now))
        for name, was, now in found
        if was != now
    ]


def contradictions(agent: Agent, said: Json, now: float) -> list[Difference]:
    """In what a client assertion differs from the manifest of its agent, which has one.

    Args:
        agent: the live record.
        said: the claims of the assertion, whose signature was checked.
        now: Unix seconds.
    """
    manifest = agent.manifest
    if manifest is None:
        return []
    found = [
        Difference(claim, getattr(manifest, field), _said(said[claim]))
        for claim, field in STATEMENT.items()
        if claim in said and said[claim] != getattr(manifest, field)
    ]
    if manifest.not_after <= now and any(claim in said for claim in STATEMENT):
        found.append(Difference("not_after", str(manifest.not_after), str(int(now))))
    return found


def tools_digest(definitions: Iterable[Json]) -> str:
    """What `tools_sha256` of a manifest is made of: the tools as the broker lists them to the agent.

    The SHA-256, in hex, of the canonical JSON of `[[name, inputSchema], …]` by name (RFC 8785).

    Raises:
        ValueError: a schema holds what canonical JSON cannot.
    """
    listed = sorted([str(tool["name"]), tool.get("inputSchema")] for tool in definitions)
    return sha256(orjson.dumps(listed, option=orjson.OPT_SORT_KEYS)).hexdigest()


def level_of(agent: Agent, now: float) -> tuple[Attestation, str]:
    """The level that an agent has, and why it is not what its manifest would give.

    `now` is Unix seconds.
    """
    manifest = agent.manifest
    if manifest is None:
        return Attestation.REGISTERED, ""
    for field in _COMPARED:
        if getattr(agent, field) != getattr(manifest, field):
            return Attestation.SELF_DECLARED, _contradiction(agent, manifest, field)
    if agent.drift is not None:
        return Attestation.SELF_DECLARED, agent.drift
    if manifest.not_after <= now:
        return Attestation.REGISTERED, "its manifest has ended"
    return Attestation.SIGNED, ""


def standing(agent: Agent, *, vouched: bool) -> Agent:
    """An agent as it stands with one token.

    Args:
        agent: the live record.
        vouched: whether what started it vouched for it when the token was issued. That does not outweigh
            a manifest that has ended or is contradicted: then the level of the record is all there is.
    """
    holds = agent.manifest is None or agent.attestation is Attestation.SIGNED
    if not vouched or agent.attestation is Attestation.SELF_DECLARED or not holds:
        return agent
    return replace(agent, attestation=Attestation.VOUCHED)


def _manifest(compact: str, key: PublicKey, now: float) -> Manifest:
    token = read(compact)
    _check_header(token)
    if not key.fits(token.header["alg"], None) or not key.signed(token):
        raise ValueError("it is not signed with this key")
    _check_canonical(token)
    manifest = _read(token, key.kid, sha256(compact.encode()).hexdigest())
    if not now < manifest.not_after <= now + LONGEST_S:
        raise ValueError(f"not_after has passed or is more than {LONGEST_S // 86_400} days away")
    return manifest


def _contradiction(agent: Agent, manifest: Manifest, field: str) -> str:
    said, signed = getattr(agent, field), getattr(manifest, field)
    return f"its record says {field} `{said or '-'}`, its manifest `{signed}`"


def _check_header(token: Unverified) -> None:
    if not token.header.keys() <= _MEMBERS or token.header.get("typ") != TYPE:
        raise ValueError(f"its header has to hold alg, typ `{TYPE}` and nothing else but kid")
    if token.header.get("alg") not in ALGORITHMS:
        raise ValueError(f"alg has to be one of {', '.join(ALGORITHMS)}")


def _check_canonical(token: Unverified) -> None:
    """One manifest has one form. Keys are ASCII and numbers whole, where this is all of RFC 8785."""
    if token.claims.keys() != _CLAIMS:
        odd = sorted(token.claims.keys() ^ _CLAIMS)
        raise ValueError(f"claims are missing or unknown: {', '.join(odd)[:200]}")
    written = urlsafe_b64decode(token.content.partition(b".")[2])
    if orjson.dumps(token.claims, option=orjson.OPT_SORT_KEYS) != written:
        raise ValueError("its content is not canonical JSON (RFC 8785)")


def _read(token: Unverified, kid: str, digest: str) -> Manifest:
    for name in _DIGESTS:
        if not _SHA256.fullmatch(text(token.claims, name)):
            raise ValueError(f"{name} is not a SHA-256 in hex")
    said = {name: text(token.claims, name) for name in (*_TEXTS, *_DIGESTS)}
    return Manifest(**said, not_after=seconds(token.claims, "not_after"), kid=kid, digest=digest)


def _said(value: object) -> str:
    return value[:100] if isinstance(value, str) else f"no text ({type(value).__name__})"
