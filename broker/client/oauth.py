"""How does an agent speak to the authorization server? It proves who it is with every request."""

from collections.abc import Mapping

import anyio
import httpx2

from broker.client.credentials import Credential
from broker.client.discovery import Server, discover
from broker.client.failures import broken
from broker.client.presenting import Bearer, Bound, Presenting
from broker.errors import (
    Because,
    BrokerError,
    ConfigurationError,
    Denied,
    Unauthenticated,
    UpstreamRefused,
)
from broker.messages.answers import decoded
from broker.model import Json


class AuthorizationServer:
    """The authorization server of one broker, as one agent uses it. Where it is, is asked once.

    Args:
        http: the connection to the broker.
        url: scheme://host[:port] of the broker.
        credential: proves who the agent is.
        presenting: how its tokens will be presented.
    """

    def __init__(
        self, http: httpx2.AsyncClient, url: str, credential: Credential, presenting: Presenting | None = None
    ) -> None:
        self._http = http
        self._url = url
        self._credential = credential
        self._presenting = presenting or Bearer()
        self._discovering = anyio.Lock()
        self._discovered: Server | None = None

    async def token(self) -> Json:
        """A token of the agent's own, with its `access_token` and `expires_in` (RFC 6749 §4.4).

        Raises:
            BrokerError: there is none; see `grant`.
        """
        resource = (await self._server()).resource
        return await self.grant({"grant_type": "client_credentials", "resource": resource})

    async def grant(self, form: Mapping[str, str], what: str = "token") -> Json:
        """What the token endpoint grants (RFC 6749 §5.1), with an `access_token` and its `expires_in`.

        Args:
            form: the request.
            what: is asked for, for the message of a refusal.

        Raises:
            Unauthenticated: the credential is not accepted.
            Denied: it is, and this is not granted.
            ConfigurationError: what the broker publishes about itself cannot be believed.
            UpstreamUnreachable: no broker answers.
            UpstreamError: it gives nothing now.
        """
        url = (await self._server()).token_url
        response = await self._post(url, form, self._presenting.asking(url))
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
        url = (await self._server()).revocation_url
        if url is None:
            raise UpstreamRefused(f"the broker at `{self._url}` revokes no tokens")
        response = await self._post(url, {"token": token})
        if response.status_code != 200:
            raise self._refusal(response, decoded(response.content), "revocation")

    async def _server(self) -> Server:
        if self._discovered is None:
            async with self._discovering:
                if self._discovered is None:
                    self._discovered = self._suitable(await discover(self._http, self._url))
        return self._discovered

    def _suitable(self, server: Server) -> Server:
        if isinstance(self._presenting, Bound) and not server.binds:
            raise ConfigurationError(
                f"the broker at `{self._url}` binds no tokens to keys", hint="connect without `bound`"
            )
        return server

    async def _post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        proof = self._credential.proof((await self._server()).issuer)
        sent = {**proof.headers, **(headers or {})}
        try:
            return await self._http.post(url, data={**proof.form, **form}, headers=sent)
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
