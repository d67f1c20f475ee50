"""What does a client ask for, and with which credentials? Reads requests to the token endpoint.

Whatever could be read in two ways is refused: repeated parameters, two ways to authenticate,
parameters in the URL.
"""

import base64
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from starlette.types import Scope

from broker.identity.assertions import ASSERTION_TYPE

AUTH_METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post")
FORM_LIMIT_BYTES = 32 << 10
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_PARAMETERS = 32
REPEATABLE = frozenset({"resource", "audience"})
"""RFC 8707 §2 and RFC 8693 §2.1; nothing else may occur twice (RFC 6749 §3.2)."""


class OAuthRefusal(Exception):
    """A request that is refused.

    Args:
        code: OAuth error code (RFC 6749 §5.2).
        description: what a developer reads; ASCII without quotes and backslashes.
        status: HTTP status.
    """

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a request; those without a value count as omitted (RFC 6749 §3.2)."""

    values: dict[str, list[str]] = field(repr=False)

    def one(self, name: str) -> str | None:
        """The value of a parameter that occurs at most once."""
        return self.values.get(name, (None,))[0]

    def all(self, name: str) -> list[str]:
        """Every value of a parameter that may be repeated."""
        return self.values.get(name, [])


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presents to prove who it is."""

    client_id: str
    secret: str = field(repr=False)
    method: str
    """How they were presented (RFC 8414 §2)."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """A signed assertion that a client presents to prove who it is (RFC 7523 §2.2)."""

    client_id: str | None
    text: str = field(repr=False)


def check_envelope(scope: Scope) -> None:
    """Refuse what is not a form in a body.

    Raises:
        OAuthRefusal: invalid_request.
    """
    if scope["query_string"]:
        raise _invalid("parameters belong in the body, not in the URL")
    types = header_values(scope, b"content-type")
    if len(types) != 1 or types[0].partition(";")[0].strip().lower() != FORM_TYPE:
        raise _invalid(f"the body must be {FORM_TYPE}")


def read_form(body: bytes) -> Form:
    """The parameters in a body.

    Raises:
        OAuthRefusal: invalid_request.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise _invalid("the body is not a form in UTF-8") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in values and name not in REPEATABLE:
            raise _invalid("a parameter occurs twice")
        values.setdefault(name, []).append(value)
    return Form({name: given for name, vs in values.items() if (given := [v for v in vs if v])})


def read_credentials(scope: Scope, form: Form) -> Credentials | Assertion | None:
    """The credentials of a request, in the header or in the form; None if there are none to check.

    Raises:
        OAuthRefusal: invalid_request if the client authenticates in more than one way (RFC 6749 §2.3).
    """
    headers = header_values(scope, b"authorization")
    in_body, assertion = form.one("client_secret"), form.one("client_assertion")
    client_id = form.one("client_id")
    if len(headers) + (in_body is not None) + (assertion is not None) > 1:
        raise _invalid("authenticate in one way only")
    if assertion is not None:
        known = form.one("client_assertion_type") == ASSERTION_TYPE
        return Assertion(client_id, assertion) if known else None
    if not headers:
        return Credentials(client_id, in_body, "client_secret_post") if client_id and in_body else None
    credentials = _basic(headers[0])
    if credentials and client_id not in {None, credentials.client_id}:
        raise _invalid("client_id differs from the one in the Authorization header")
    return credentials


def _basic(header: str) -> Credentials | None:
    """HTTP Basic with form-encoded parts (RFC 6749 §2.3.1); None for anything else."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded.strip(" "), validate=True).decode("utf-8")
        client_id, _, secret = (unquote_plus(part, errors="strict") for part in pair.partition(":"))
    except ValueError:
        return None
    return Credentials(client_id, secret, "client_secret_basic") if client_id and secret else None


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _invalid(description: str) -> OAuthRefusal:
    return OAuthRefusal("invalid_request", description)
