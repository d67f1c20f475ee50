"""May this client hand its authority on, or take up what was handed to it? Token exchange (RFC 8693).

* With `requested_actor` the client delegates: its own token becomes a delegation token that names the
  other agent, which sends it in `_meta` beside its own access token. Whoever else has it can do nothing.
* Without, the client takes up a delegation token that names it, as an access token of its own: for
  agents that can send nothing in `_meta`.

The subject token always belongs to the authenticated client; splicing a foreign one in is refused.
"""

import re
from dataclasses import dataclass
from typing import Final

from broker.edges.oauth.endpoint import Answer
from broker.edges.oauth.form import Form, OAuthRefusal
from broker.edges.oauth.server import Granted, token_type
from broker.errors import Denied, Unauthenticated
from broker.grants import Delegator
from broker.identity import strict_json
from broker.identity.authenticator import TokenAuthenticator
from broker.identity.delegation import SCOPE, TOOLS, Wish
from broker.identity.interface import Evidence
from broker.identity.tokens import IssuedToken, Kind
from broker.limits import Limits, read, wire
from broker.model import Agent, AgentId, Json, MicroUSD, Principal

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_KINDS: Final = {ACCESS_TOKEN: Kind.ACCESS, JWT: Kind.DELEGATION}
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_LONGEST_TEXT: Final = 200
_UNSPEAKABLE: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
"""What an `error_description` may not hold (RFC 6749 §5.2)."""
_CODES: Final = {
    f"delegation/{SCOPE}": "invalid_scope",
    f"delegation/{TOOLS}": "invalid_authorization_details",
    "delegation/policy": "unauthorized_client",
}


@dataclass(frozen=True, slots=True)
class Delegated(Answer):
    """An answer with a delegation token in it, which is recorded already."""


class TokenExchange:
    """Answers token exchanges of clients that have authenticated.

    Args:
        resource: the one resource that tokens are for (RFC 8707).
        identity: says what a subject token stands for.
        delegator: plans, records and mints.
    """

    def __init__(self, resource: str, identity: TokenAuthenticator, delegator: Delegator) -> None:
        self._resource = resource
        self._identity = identity
        self._delegator = delegator

    async def answer(
        self, form: Form, agent: Agent, evidence: Evidence, thumbprint: str | None = None
    ) -> Answer:
        """The answer to one request: `Delegated`, `Granted`, or a refusal with the exact reason.

        Args:
            form: the request.
            agent: the client.
            evidence: how it has shown who it is.
            thumbprint: the key that it has proved to have, if any: what it takes up is bound to that.
        """
        try:
            token, kind = self._subject_token(form)
            principal = await self._identity.subject(agent, evidence, token, kind, thumbprint)
            actor = form.one("requested_actor")
            if actor is not None:
                return await self._delegate(form, principal, AgentId(actor), token)
            return self._take_up(principal, token, kind, thumbprint)
        except OAuthRefusal as refusal:
            return _refused(refusal.code, refusal.description)
        except Unauthenticated as error:
            return _refused("invalid_request", f"the subject_token is {error.message}")
        except Denied as error:
            rule = error.because[0].rule if error.because else ""
            return _refused(_CODES.get(rule, "invalid_request"), error.message)

    def _take_up(self, principal: Principal, token: str, kind: Kind, thumbprint: str | None) -> Granted:
        if kind is not Kind.DELEGATION:
            raise OAuthRefusal("invalid_request", "requested_actor names the agent to delegate to")
        issued = self._delegator.redeemed(principal, token, thumbprint)
        return Granted(200, _body(issued, ACCESS_TOKEN, token_type(issued.claims)), issued)

    def _subject_token(self, form: Form) -> tuple[str, Kind]:
        token, kind = form.one("subject_token"), _KINDS.get(form.one("subject_token_type") or "")
        if token is None or kind is None:
            raise OAuthRefusal("invalid_request", "subject_token and its subject_token_type are needed")
        if form.one("actor_token") is not None or form.one("actor_token_type") is not None:
            raise OAuthRefusal("invalid_request", "the actor is named by requested_actor, not by a token")
        if any(target != self._resource for target in form.all("resource") + form.all("audience")):
            raise OAuthRefusal("invalid_target", f"tokens are issued for {self._resource} only")
        wanted = JWT if form.one("requested_actor") is not None else ACCESS_TOKEN
        if form.one("requested_token_type") not in {None, wanted}:
            raise OAuthRefusal("invalid_request", f"requested_token_type can only be {wanted} here")
        return token, kind

    async def _delegate(self, form: Form, by: Principal, to: AgentId, token: str) -> Answer:
        wish = _wish(form, to)
        grant = await self._delegator.plan(by, wish)
        issued = await self._delegator.hand_over(by, grant, token, wish.scopes or by.scopes)
        body = _body(issued, JWT, "N_A")
        if wish.limits is not None:
            body["authorization_details"] = wire(wish.limits)
        return Delegated(200, body)


def _wish(form: Form, to: AgentId) -> Wish:
    scope = form.one("scope")
    cap = _number(form, "budget_micro_usd")
    return Wish(
        to=to,
        scopes=frozenset(scope.split()) or None if scope is not None else None,
        limits=_limits(form),
        lifetime_s=_number(form, "requested_expires_in"),
        max_depth=_number(form, "max_depth"),
        cap_micro_usd=None if cap is None else MicroUSD(cap),
        max_calls=_number(form, "max_calls"),
        task=_text(form, "task"),
        purpose=_text(form, "purpose"),
    )


def _limits(form: Form) -> Limits | None:
    text = form.one("authorization_details")
    if text is None:
        return None
    try:
        # Wrapped, so that names are unique and numbers are numbers at every depth (RFC 8259 §4).
        return read(strict_json.loads(f'{{"details":{text}}}'.encode()).get("details"))
    except ValueError as error:
        raise OAuthRefusal("invalid_authorization_details", str(error)) from None


def _number(form: Form, name: str) -> int | None:
    text = form.one(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise OAuthRefusal("invalid_request", f"{name} is a whole number")
    return int(text)


def _text(form: Form, name: str) -> str | None:
    text = form.one(name)
    if text is not None and (len(text) > _LONGEST_TEXT or not text.isprintable()):
        raise OAuthRefusal("invalid_request", f"{name} is at most {_LONGEST_TEXT} printable characters")
    return text


def _body(token: IssuedToken, issued_type: str, token_type: str) -> Json:
    return {
        "access_token": token.compact,
        "issued_token_type": issued_type,
        "token_type": token_type,
        "expires_in": token.lifetime_s,
        "scope": token.scope,
    }


def _refused(code: str, description: str) -> Answer:
    return Answer(400, {"error": code, "error_description": _UNSPEAKABLE.sub("?", description)})
