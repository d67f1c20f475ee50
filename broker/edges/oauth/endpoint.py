"""Who asks, and may they ask at all? What the token, revocation and introspection endpoints share."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from broker.edges.http import JsonResponse, TooLarge, peer_address, read_body, too_large
from broker.edges.oauth.form import (
    Assertion,
    Form,
    OAuthRefusal,
    check_envelope,
    read_credentials,
    read_form,
)
from broker.errors import StorageUnavailable
from broker.identity.clients import Attempt, Clients
from broker.identity.interface import TokenLog
from broker.model import Agent, Json
from broker.settings import Settings

logger = logging.getLogger("broker.oauth")

NOT_STORED = {"cache-control": "no-store", "pragma": "no-cache"}
"""RFC 6749 §5.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers."""

    status: int
    body: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a client that has authenticated as `agent`."""

    agent: Agent
    form: Form
    address: str
    scope: Scope = field(repr=False)


class Objection(Exception):
    """A client that has authenticated and is refused as if it had not; `reason` is for the log alone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Serve = Callable[[Asked], Awaitable[JsonResponse]]


class Refusals:
    """Answers refusals and writes them down, after they were sent.

    Args:
        log: where refused requests of clients that exist are recorded.
    """

    def __init__(self, log: TokenLog) -> None:
        self._log = log

    def response(
        self,
        agent: Agent | None,
        answer: Answer,
        address: str,
        headers: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> JsonResponse:
        """The response of a refusal; `agent` is whom the request names, if anybody, `reason` is not told."""
        response = json_response(answer.status, answer.body, headers)
        if agent is not None:
            # After the response: what it takes to record must not tell which clients exist.
            response.background = BackgroundTask(self._record, agent, answer.body["error"], address, reason)
        return response

    async def _record(self, agent: Agent, error: str, address: str, reason: str) -> None:
        try:
            await self._log.token_refused(agent, error=error, address=address, reason=reason)
        except StorageUnavailable as failure:
            logger.warning("a refused request of %s was not recorded: %s", agent.id, failure.message)


class ClientEndpoint:
    """ASGI application of one endpoint for authenticated clients (RFC 6749 §2.3, §3.2).

    Args:
        settings: names the realm.
        clients: authenticates clients.
        refusals: answers who may not ask.
        limit: largest body, in bytes.
        serve: answers who may.
    """

    def __init__(
        self, settings: Settings, clients: Clients, refusals: Refusals, limit: int, serve: Serve
    ) -> None:
        self._clients = clients
        self._refusals = refusals
        self._limit = limit
        self._serve = serve
        self._challenge = {"www-authenticate": f'Basic realm="{settings.issuer}"'}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except OAuthRefusal as refusal:
            response = _refused(refusal)
        except TooLarge as error:
            response = too_large(error)
        except StorageUnavailable:
            refusal = OAuthRefusal("temporarily_unavailable", "nothing can be recorded now, try later", 503)
            response = _refused(refusal)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> JsonResponse:
        if scope["method"] != "POST":
            raise OAuthRefusal("invalid_request", "this is asked for by POST", 405)
        check_envelope(scope)
        form = read_form(await read_body(scope, receive, self._limit))
        address = peer_address(scope)
        attempt = await self._authenticate(scope, form, address)
        if attempt.retry_after_s:
            return _too_often(attempt.retry_after_s)
        if attempt.agent is None or not attempt.accepted:
            return self._unauthenticated(attempt.agent, address)
        try:
            return await self._serve(Asked(attempt.agent, form, address, scope))
        except Objection as objection:
            return self._unauthenticated(attempt.agent, address, objection.reason)

    async def _authenticate(self, scope: Scope, form: Form, address: str) -> Attempt:
        presented = read_credentials(scope, form)
        if presented is None:
            return Attempt(accepted=False)
        if isinstance(presented, Assertion):
            return await self._clients.authenticate_assertion(presented.text, presented.client_id, address)
        return await self._clients.authenticate(presented.client_id, presented.secret, address)

    def _unauthenticated(self, agent: Agent | None, address: str, reason: str = "") -> JsonResponse:
        """One answer for wrong credentials, an unknown client, an inactive one and no credentials at all."""
        body = {"error": "invalid_client", "error_description": "client authentication failed"}
        return self._refusals.response(agent, Answer(401, body), address, self._challenge, reason)


def json_response(status: int, body: Json, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """A response that nobody keeps."""
    return JsonResponse(body, status, {**NOT_STORED, **(headers or {})})


def _too_often(retry_after_s: int) -> JsonResponse:
    description = f"too many failed attempts, wait {retry_after_s} s"
    body = {"error": "temporarily_unavailable", "error_description": description}
    return json_response(429, body, {"retry-after": str(retry_after_s)})


def _refused(refusal: OAuthRefusal) -> JsonResponse:
    body = {"error": refusal.code, "error_description": refusal.description}
    return json_response(refusal.status, body, {"allow": "POST"} if refusal.status == 405 else None)
