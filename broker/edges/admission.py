"""Who is let in at an edge? Whoever shows a valid token, and has its key if it is bound to one."""

from starlette.types import Scope

from broker.edges.http import bound, bound_challenge, challenge
from broker.errors import InvalidRequest, Unauthenticated
from broker.identity.dpop import HeldToken, Proofs
from broker.identity.interface import Authenticator
from broker.model import Principal
from broker.settings import Settings


class Admission:
    """Looks at a request's token before anything else of it is read.

    Args:
        identity: knows whose a token is.
        proofs: checks that senders of bound tokens have their key.
        settings: where to learn how to get a token.
    """

    def __init__(self, identity: Authenticator, proofs: Proofs, settings: Settings) -> None:
        self._identity = identity
        self._proofs = proofs
        self._settings = settings

    async def admit(self, scope: Scope, url: str, token: str | None) -> tuple[str, Principal]:
        """The token of a request and who asks.

        Args:
            scope: the request.
            url: its address without query, as a proof has to name it.
            token: what it presents as a bearer token, if it does.

        Raises:
            Unauthenticated: nobody is let in by this.
        """
        proved = bound(scope)
        return await self._prove(scope, url, *proved) if proved else await self._known(token)

    def challenge(self, scope: Scope, error: Unauthenticated, *, presented: bool) -> str:
        """The WWW-Authenticate that goes with a 401, in the scheme that was tried.

        Args:
            scope: the request.
            error: why it was refused.
            presented: whether there was a token at all.
        """
        if bound(scope):
            return bound_challenge(self._settings, error)
        return challenge(self._settings, error if presented else None)

    async def _known(self, token: str | None) -> tuple[str, Principal]:
        if token is None:
            raise Unauthenticated("a bearer token is needed", hint="get one at the token endpoint")
        return token, await self._identity.authenticate(token)

    async def _prove(self, scope: Scope, url: str, token: str, presented: str) -> tuple[str, Principal]:
        """Admit a token that is bound to a key. Its proof is used up last, when its sender is known."""
        try:
            proof = self._proofs.read(presented, method=scope["method"], url=url, token=token)
            admitted = await self._known(HeldToken.of(token, proof.thumbprint))
            await self._proofs.use(proof)
        except InvalidRequest as error:
            raise Unauthenticated(error.message, hint=error.hint) from None
        return admitted
