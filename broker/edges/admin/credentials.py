"""What can operators do with what agents authenticate with? Secrets go out once; keys are public."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from broker.credentials import Credentials
from broker.edges.admin.agents import known_agent
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import NoQuery, Nothing, Shape, Time, Whole, time_of
from broker.identity.clients import digest, new_secret
from broker.identity.interface import AgentStore
from broker.identity.jwks import read_key, stored_key
from broker.identity.operators import Right
from broker.model import Clock, Json

Value = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,1400}$")]
"""A number of a key, in base64url."""

Word = Annotated[str, Field(max_length=256)]


class Rotation(Shape):
    """How long the older secrets still work."""

    grace_s: Whole = Field(default=86_400, ge=0, le=30 * 86_400, description="in seconds; 0: not at all")


class NewSecret(Shape):
    """A new secret."""

    client_id: str
    client_secret: str = Field(description="shown once, kept nowhere")
    older_until: Time = Field(description="older secrets are refused from then on")


class PublicJwk(Shape):
    """A public key (RFC 7517 §4)."""

    kty: Literal["EC", "OKP", "RSA"]
    crv: Word | None = None
    x: Value | None = None
    y: Value | None = None
    n: Value | None = None
    e: Value | None = None
    kid: Word | None = None
    alg: Word | None = None
    use: Word | None = None
    key_ops: list[Word] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_public(cls, given: Any) -> Any:
        if isinstance(given, dict) and not {"d", "k", "p"}.isdisjoint(given):  # pyright: ignore[reportUnknownArgumentType] - JSON
            raise PydanticCustomError("private_key", "is a private key: keep it, and give its public half")
        return given  # pyright: ignore[reportUnknownVariableType] - JSON


class NewKey(Shape):
    """A public key that an agent may authenticate with (private_key_jwt)."""

    jwk: PublicJwk


class KeyFacts(Shape):
    """A public key of an agent."""

    kid: str = Field(description="its thumbprint (RFC 7638)")
    algorithms: list[str]
    added_at: Time


class AgentKeys(Shape):
    """The public keys of an agent, newest first."""

    items: list[KeyFacts]


class RemovedKey(Shape):
    """A key that is refused from now on."""

    agent: str
    kid: str


class AgentCredentials:
    """Secrets and keys of agents, to operators.

    Args:
        agents: who there is.
        credentials: changes them, and records it.
        clock: Unix time in seconds.
    """

    def __init__(self, agents: AgentStore, credentials: Credentials, clock: Clock = time.time) -> None:
        self._agents = agents
        self._credentials = credentials
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        one, right = "/agents/{agent}", Right.AGENTS
        return [
            Operation("POST", f"{one}/secrets", right, self.rotate, NewSecret, body=Rotation, status=201),
            Operation("GET", f"{one}/keys", Right.READ, self.keys, AgentKeys),
            Operation("POST", f"{one}/keys", right, self.add_key, KeyFacts, body=NewKey, status=201),
            Operation("DELETE", f"{one}/keys/{{kid}}", right, self.remove_key, RemovedKey),
        ]

    async def rotate(self, asked: Asked[NoQuery, Rotation]) -> NewSecret:
        """Give an agent a new secret. It is shown once; the old ones work until the grace is over."""
        agent = await known_agent(self._agents, asked.path["agent"])
        secret, now = new_secret(), int(self._clock())
        until = now + asked.body.grace_s
        await self._credentials.rotate_secret(
            agent.id, digest(secret), now=now, until=until, by=asked.operator.by
        )
        return NewSecret(client_id=agent.id, client_secret=secret, older_until=time_of(until))

    async def keys(self, asked: Asked[NoQuery, Nothing]) -> AgentKeys:
        """The public keys of an agent."""
        agent = await known_agent(self._agents, asked.path["agent"])
        found = await self._agents.keys(agent.id)
        return AgentKeys(
            items=[
                KeyFacts(
                    kid=key.kid,
                    algorithms=sorted(stored_key(key).algorithms),
                    added_at=time_of(key.created_at),
                )
                for key in found
            ]
        )

    async def add_key(self, asked: Asked[NoQuery, NewKey]) -> KeyFacts:
        """Let an agent authenticate with a key from now on."""
        agent = await known_agent(self._agents, asked.path["agent"])
        jwk: Json = asked.body.jwk.model_dump(exclude_none=True)
        key, now = read_key(jwk), int(self._clock())
        await self._credentials.add_key(agent.id, key.stored(now), by=asked.operator.by)
        return KeyFacts(kid=key.kid, algorithms=sorted(key.algorithms), added_at=time_of(now))

    async def remove_key(self, asked: Asked[NoQuery, Nothing]) -> RemovedKey:
        """Refuse a key of an agent from now on."""
        agent = await known_agent(self._agents, asked.path["agent"])
        await self._credentials.remove_key(agent.id, asked.path["kid"], by=asked.operator.by)
        return RemovedKey(agent=agent.id, kid=asked.path["kid"])
