"""How does an agent speak to the authorization server? It proves who it is with every request."""

from collections.abc import Mapping

import httpx2

from broker.client.credentials import Credential
from broker.errors import (
    Because,
    BrokerError,
    Denied,
    Unauthenticated,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
)
from broker.messages.answers import decoded
from broker.model import Json

TOKEN_PATH, REVOCATION_PATH = "/oauth/token", "/oauth/revoke"
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


class AuthorizationServer:
    """The authorization server of one broker, as one agent uses it.

    Args:
        http: the connection to the broker.
        url: scheme://host[:port] of the broker.
        credential: proves who the agent is.
    """

    def __init__(self, http: httpx2.AsyncClient, url: str, credential: Credential) -> None:
        self._http = http
        self._url = url
        self._credential = credential

    async def grant(self, form: Mapping[str, str], what: str = "token") -> Json:
        """What the token endpoint grants (RFC 6749 §5.1), with an `access_token` and its `expires_in`.

        Args:
            form: the request.
            what: is asked for, for the message of a refusal.

        Raises:
            Unauthenticated: the credential is not accepted.
            Denied: it is, and this is not granted.
            UpstreamUnreachable: no broker answers.
            UpstreamError: it gives nothing now.
        """
        response = await self._post(TOKEN_PATH, form)
        answer = decoded(response.content)
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if response.status_code == 200 and isinstance(token, str) and isinstance(lifetime, int):
            return answer
        raise self._refusal(response, answer, what)

    async def revoke(self, token: str) -> None:
        """Take a token back, and what was delegated with it (RFC 7009).

        Raises:
            BrokerError: it could not be; see `grant`.
        """
        response = await self._post(REVOCATION_PATH, {"token": token})
        if response.status_code != 200:
            raise self._refusal(response, decoded(response.content), "revocation")

    async def _post(self, path: str, form: Mapping[str, str]) -> httpx2.Response:
        proof = self._credential.proof()
        try:
            return await self._http.post(self._url + path, data={**proof.form, **form}, headers=proof.headers)
        except httpx2.HTTPError as error:
            raise broken(self._url, error) from error

    def _refusal(self, response: httpx2.Response, answer: Json, what: str) -> BrokerError:
        status, code = response.status_code, str(answer.get("error") or "")
        reason = str(answer.get("error_description") or code or f"HTTP {status}")
        message = f"no {what} for `{self._credential.client_id}`: {reason}"
        if status == 401 or code == "invalid_client":
            hint = "check client id and credential; `broker agent show` tells whether the agent is active"
            return Unauthenticated(message, hint=hint)
        if status in {400, 403}:
            return Denied(message, because=(Because(code, "RFC 6749 §5.2"),))
        wait = response.headers.get("retry-after")
        return UpstreamRefused(message, hint=f"try again in {wait} s" if wait else "try again later")


def broken(url: str, error: httpx2.HTTPError) -> BrokerError:
    """What a failed connection means: before the request left, nothing has happened."""
    if isinstance(error, _NOT_SENT):
        return UpstreamUnreachable(
            f"no broker at `{url}`: {error or 'it did not answer in time'}",
            hint="check the URL (BROKER_URL) and whether the broker is running",
        )
    return UpstreamLost(
        f"the connection to the broker at `{url}` broke before its answer",
        hint="the call may have had its effect: look before you repeat it",
    )
