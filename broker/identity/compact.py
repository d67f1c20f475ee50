"""What does a signed token of somebody else say, before anybody believes it? RFC 7515 §7.1."""

import re
from dataclasses import dataclass, field

from joserfc.util import urlsafe_b64decode

from broker.identity import strict_json
from broker.model import Json

MAX_CHARS = 8192
MAX_HEADER_CHARS = 4096

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Unverified:
    """The parts of a compact JWS. Only `header["alg"]` and `header["kid"]` may be acted on, to find a key."""

    header: Json
    claims: Json = field(repr=False)
    content: bytes = field(repr=False)
    """What is signed."""
    signature: bytes = field(repr=False)


def read(token: str) -> Unverified:
    """The parts of a token, if they can be read in one way only.

    Raises:
        ValueError: too large, not compact, not JSON objects, or a name occurs twice.
    """
    if len(token) > MAX_CHARS or not _COMPACT.fullmatch(token):
        raise ValueError("not a compact JWS")
    content, _, signature = token.rpartition(".")
    header, _, claims = content.partition(".")
    if len(header) > MAX_HEADER_CHARS:
        raise ValueError("header too long")
    return Unverified(
        header=_object(header),
        claims=_object(claims),
        content=content.encode(),
        signature=urlsafe_b64decode(signature.encode()),
    )


def seconds(claims: Json, name: str) -> int:
    """A time claim as whole seconds; neither float nor bool, so that NaN and 1e400 never compare as late.

    Raises:
        ValueError: it is missing or anything else.
    """
    value = claims.get(name)
    if type(value) is not int:
        raise ValueError(f"{name} is not a whole number")
    return value


def text(claims: Json, name: str, longest: int = 256) -> str:
    """A claim that is a text of 1 to `longest` characters.

    Raises:
        ValueError: it is missing or anything else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise ValueError(f"{name} is not a text")
    return value


def _object(segment: str) -> Json:
    return strict_json.loads(urlsafe_b64decode(segment.encode()))
