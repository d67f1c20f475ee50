"""The vocabulary: frozen values that every part of the broker speaks in. No I/O, no protocol."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NewType, Protocol, cast

AgentId = NewType("AgentId", str)
OrganisationId = NewType("OrganisationId", str)
CallId = NewType("CallId", str)
GrantId = NewType("GrantId", str)
MicroUSD = NewType("MicroUSD", int)
"""Money: an integer number of millionths of a US dollar. Never a float."""

DELEGATION = "io.toolbroker/delegation"
"""The key of `_meta` under which a request carries a delegation token."""

TASK = "io.toolbroker/task"
"""The key of `_meta` under which a request names the task that it is made for."""

CLIENT = "io.modelcontextprotocol/clientInfo"
"""The key of `_meta` under which a request says which program makes it (MCP 2026-07-28)."""

INSTANCE = "io.toolbroker/agent_instance_id"
"""The key of `_meta` under which a request says which copy of its agent makes it."""

TASK_TEXT = "io.toolbroker/task_text"
"""The key of `_meta` under which a request says what the caller was asked to do."""

BETAS = "io.toolbroker/betas"
"""The key of `_meta` under which a request to a model names features that are on trial at its provider."""

IDEMPOTENCY_KEY = "io.toolbroker/idempotency_key"
"""The key of `_meta` under which a request says which call it is, so that it is not made twice."""

Json = dict[str, Any]
"""One JSON object exactly as it came from the wire: unknown fields and key order are kept."""


class Kind(StrEnum):
    """What can be called."""

    TOOL = "tool"
    RESOURCE = "resource"
    TEMPLATE = "template"
    PROMPT = "prompt"
    MODEL = "model"
    AGENT = "agent"


class Method(StrEnum):
    """The governed methods. All go through `Pipeline.call`.

    The methods of models name the wire format: `Call.params` is a request body of it, `Answer.body` its
    complete response object, and what `Caller.deliver` is given is one event of its stream.
    """

    CALL_TOOL = "tools/call"
    READ_RESOURCE = "resources/read"
    GET_PROMPT = "prompts/get"
    COMPLETE = "completion/complete"
    CHAT = "chat/completions"
    """OpenAI: Chat Completions."""
    RESPONSES = "responses"
    """OpenAI: Responses."""
    EMBED = "embeddings"
    """OpenAI: Embeddings."""
    MESSAGES = "messages"
    """Anthropic: Messages."""
    COUNT = "messages/count_tokens"
    """Anthropic: how many tokens a request has. Nothing is written, and nothing is charged."""


MODEL_METHODS = frozenset({Method.CHAT, Method.RESPONSES, Method.EMBED, Method.MESSAGES, Method.COUNT})
"""The methods whose target is a model."""

CLAMPED = "io.toolbroker/clamped"
"""The notification that says before a model is asked that it may write less than was wanted:
`{"max_tokens": what it may write, "asked": what was wanted, or null}`.
"""


class SideEffect(StrEnum):
    """What a call does to the world. Retries and replays depend on it."""

    READS = "reads"
    WRITES = "writes"
    DESTROYS = "destroys"


class AgentStatus(StrEnum):
    """Whether an agent may act at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Attestation(StrEnum):
    """What stands behind what is said of an agent. Policies see it as a number."""

    SELF_DECLARED = "A0"
    """What is known of it and its signed manifest contradict each other, so neither is believed."""
    REGISTERED = "A1"
    """An operator has enrolled it."""
    SIGNED = "A2"
    """A manifest that an operator handed in, signed, not ended, and agreeing with the record."""
    VOUCHED = "A3"
    """What started it vouches for it now: never the level of a record, only of who acts with one token."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a signed manifest says. `kid` is the thumbprint of the key that signed it (RFC 7638),
    `digest` the SHA-256 of the JWS in hex, `not_after` Unix seconds.
    """

    agent: str
    version: str
    model: str
    model_version: str
    prompt_sha256: str
    tools_sha256: str
    code_sha256: str
    owner: str
    not_after: int
    kid: str
    digest: str


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as the broker knows it. Its credential is an OAuth client whose id is `id`.

    `cap_micro_usd` is what it may spend in total (None: no cap of its own). `model`, `model_version` and
    `attributes` are what its operator says of it. Times are Unix seconds; `changed_at` is 0 until it changes.
    """

    id: AgentId
    organisation: OrganisationId
    roles: frozenset[str]
    team: str | None = None
    status: AgentStatus = AgentStatus.ACTIVE
    cap_micro_usd: MicroUSD | None = None
    owner: str | None = None
    created_at: int = 0
    purpose: str | None = None
    model: str | None = None
    model_version: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    changed_at: int = 0
    attestation: Attestation = Attestation.REGISTERED
    manifest: Manifest | None = None
    drift: str | None = None
    """How it was seen to differ from its manifest; an operator has to look at it."""


@dataclass(frozen=True, slots=True)
class ToolLimit:
    """One thing a delegation leaves open: targets by glob over exposed names, and conditions on arguments.

    `arguments` maps a top-level argument to its condition, in the terms of
    draft-niyikiza-oauth-attenuating-agent-tokens: `{"constraint_type": "exact" | "one_of" | "range" |
    "pattern", ...}`. An argument with a condition has to be there and satisfy it.
    """

    match: str
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Grant:
    """One hop of delegation: `by` lets `to` act within part of its own authority (RFC 8693 §4.1).

    Grants form a tree: `parent` is the grant that `by` acted under, None where it acted on its own.
    A grant never widens anything: what a chain may do is what *every* actor may do now, within the
    limits of *every* hop. `limits` is None where a hop adds none. Times are Unix seconds.
    """

    id: GrantId
    parent: GrantId | None
    organisation: OrganisationId
    subject: AgentId
    by: AgentId
    to: AgentId
    depth: int
    max_depth: int
    transaction: str
    expires_at: int
    created_at: int
    task: str | None = None
    purpose: str | None = None
    call: CallId | None = None
    """The open call of `by` that this grant serves; it is worth nothing after that has ended."""
    limits: tuple[ToolLimit, ...] | None = None
    cap_micro_usd: MicroUSD | None = None
    max_calls: int | None = None
    revoked_at: int | None = None
    credential: str | None = None
    """The credential that `by` had shown when it granted this; the hop ends with it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated party of one call: who asks, on whose authority, through whom.

    `agent` is the live record of the authenticated client, at the level that its token gives it;
    `actors` are the live records of everybody in the delegation chain, newest first, so
    `actors[0] is agent`. Authority is what *every* actor may do.
    """

    agent: Agent
    subject: AgentId
    actors: tuple[Agent, ...]
    scopes: frozenset[str]
    token_id: str
    transaction: str
    expires_at: int
    """Unix seconds."""
    grants: tuple[Grant, ...] = ()
    """The hops of the delegation, newest first; `actors` is one longer. Empty: it acts on its own."""
    credential: str | None = None
    """The credential that its token was issued for, if the broker keeps it: the token ends with it."""
    key: str | None = None
    """Which of the broker's own keys has signed its token."""
    vouched: bool = False
    """Whether what started it vouches for it: then `agent` may stand above the level of its record."""

    @property
    def organisation(self) -> OrganisationId:
        """The tenant whose log, budgets and policies apply."""
        return self.agent.organisation


def credentials_of(principal: Principal) -> list[tuple[AgentId, str]]:
    """Every credential that a chain stands on, with whose it is."""
    own = [] if principal.credential is None else [(principal.agent.id, principal.credential)]
    return own + [(hop.by, hop.credential) for hop in principal.grants if hop.credential is not None]


class Origin(StrEnum):
    """Where the value of an argument was first seen in its transaction."""

    TASK = "task"
    """In what the caller was asked to do."""
    OWN = "own"
    """In a field of a result that only the owner of what is read fills, or the system itself."""
    TRUSTED = "trusted"
    """In the result of a target whose content is trusted."""
    QUOTED = "quoted"
    """Word for word in the result of a target that anybody may have written to: nothing was added to it."""
    UNTRUSTED = "untrusted"
    """In such a result too, but not as it is: its host or domain was there, the rest was put together."""
    UNSEEN = "unseen"
    """Nowhere: the caller made it up, or knew it from before."""


class Role(StrEnum):
    """What an argument is for, where that matters to rules."""

    DESTINATION = "destination"
    AMOUNT = "amount"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tool that rules can speak about, as the operator declares it.

    `name` is what rules call it; `path` where it stands in the arguments, in dots, each item of a list
    taken by itself. With `scale` it is a number, handed to rules as an integer of `10 ** -scale` units
    (cents for 2); without it is a text. Numbers are written into the record of a call, texts only with
    `record`. With `subject` it names the person whom the call is about.
    """

    name: str
    path: str
    scale: int | None = None
    role: Role | None = None
    record: bool = False
    subject: bool = False


OWN_CONNECTOR: Final = "broker"
"""The connector of the broker itself. Who may use it is named for it: no `*` of a role means it."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the moment of a call beyond who asks for what.

    `taint` is the union of the labels of everything that the transaction has read, `provenance` says for
    each declared argument where its value was first seen (of several values the least trusted),
    `counters` counts what the transaction has done, this call included. `trust` is the lowest score in
    the chain. `approved` lists the rules for which a human has agreed to exactly this call.
    """

    taint: frozenset[str] = frozenset()
    provenance: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    counters: Mapping[str, int] = field(default_factory=dict[str, int])
    trust: int = 1000
    approved: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be called, as callers see it.

    `name` is the exposed name (`<connector>__<tool>`, a resource URI, a URI template or a prompt
    name), `upstream_name` what its connector calls it. `definition` is the upstream's own object
    with the name replaced and nothing else touched. `price` is the worst case of one call.
    """

    kind: Kind
    name: str
    connector: str
    upstream_name: str
    definition: Json = field(repr=False, compare=False)
    price: MicroUSD = MicroUSD(0)
    price_source: str = "free"
    side_effect: SideEffect = SideEffect.WRITES
    labels: frozenset[str] = frozenset()
    agent: AgentId | None = None
    """Whoever answers acts as this agent: a call to it hands the caller's authority on."""
    arguments: tuple[Argument, ...] = ()
    """The arguments that rules can speak about."""
    risk: int = 0
    """How much harm a call can do, 0 to 10, as the operator sees it; 0 where nobody has said."""
    min_trust: int = 0
    """The score that everybody in the chain needs, 0 to 1000."""
    cache_s: int = 0
    """For how many seconds the answer to the same read is the same; 0: it is asked every time."""
    own_fields: tuple[str, ...] = ()
    """Where in its structured results nobody else can choose what stands: names joined by dots."""


class Caller(Protocol):
    """The way back to the caller while its call is open."""

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """The client capabilities this caller declared (MCP `clientCapabilities`)."""
        ...

    @property
    def modern(self) -> bool:
        """Whether the caller speaks a revision without sessions (2026-07-28 or later)."""
        ...

    async def notify(self, method: str, params: Json) -> None:
        """Pass a notification on (progress, log message). Never raises; may be dropped."""
        ...

    async def ask(self, method: str, params: Json) -> Json:
        """Put a request to the caller (sampling, elicitation, roots) and wait for its result.

        Raises:
            NotDeclared: the caller did not declare the capability, or cannot be asked in place.
            UpstreamRefused: the caller answered with a JSON-RPC error, relayed to who asked.
        """
        ...

    async def deliver(self, event: Json) -> bool:
        """Pass on one event of a model's stream, in the wire format that the call's method names.

        The event that ends a stream is not delivered but made by the edge of the released result, when the
        outcome is recorded: `[DONE]` (Chat Completions), `message_stop` (Messages), `response.completed`,
        `.incomplete` or `.failed` (Responses).

        Returns:
            Whether the caller still listens; if not, nothing more is wanted of the answer.

        Raises:
            Blocked: a guard stops the stream; the part that it stops was not passed on.
        """
        ...

    async def poll(self, retry_ms: int) -> None:
        """Have the caller hang up and fetch the result later (SEP-1699), if it can. Never raises.

        Args:
            retry_ms: milliseconds after which it comes back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to use something, as an edge heard it. Nothing in it is trusted yet.

    `params` are the request's parameters as they came, without `_meta`; `name` is the target's
    exposed name (for a completion: that of the prompt or template it refers to; for a model: its
    exposed name or an alias of it, which is also `params["model"]`).
    """

    id: CallId
    method: Method
    name: str
    params: Json = field(repr=False)
    token: str = field(repr=False)
    caller: Caller = field(repr=False)
    meta: Json = field(default_factory=dict[str, Any], repr=False)
    """`_meta` of the request as it came (never forwarded as a whole)."""
    address: str = field(default="", repr=False)
    """Where the request came from, as the server saw it or a trusted proxy told it; "" where unknown."""

    @property
    def traceparent(self) -> str | None:
        """W3C trace context of the caller: correlation, never authority."""
        value = self.meta.get("traceparent")
        return value if isinstance(value, str) else None

    @property
    def delegation(self) -> str | None:
        """The delegation token that the caller says it acts under; "" where it is no text."""
        value = self.meta.get(DELEGATION)
        return value if isinstance(value, str) or value is None else ""

    @property
    def task(self) -> str | None:
        """What the caller calls the task that the call is made for."""
        value = self.meta.get(TASK)
        return value if isinstance(value, str) else None

    @property
    def task_text(self) -> str | None:
        """What the caller says it was asked to do, in the words of who asked."""
        value = self.meta.get(TASK_TEXT)
        return value if isinstance(value, str) else None

    @property
    def claimed_parent(self) -> str | None:
        """The parent call the caller claims; stored as a claim, never believed."""
        value = self.meta.get("io.toolbroker/parent_call")
        return value if isinstance(value, str) else None

    @property
    def claimed_client(self) -> str | None:
        """The program that the caller says it is: name and version of MCP's `clientInfo`. A claim."""
        said: object = self.meta.get(CLIENT)
        if not isinstance(said, dict):
            return None
        info = cast("Json", said)
        told = [part for key in ("name", "version") if isinstance(part := info.get(key), str)]
        return " ".join(told) or None

    @property
    def claimed_instance(self) -> str | None:
        """Which of several running copies of its agent the caller says it is. A claim."""
        value = self.meta.get(INSTANCE)
        return value if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model has read and written, in tokens.

    `read` counts all that it was given, `cached` and `written` the parts of it that came out of a cache and
    went into one; `wrote` counts all of its answer, what it thought included. `exact`: as the provider
    says it, not as it was counted on the way.
    """

    read: int
    wrote: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    """The part of `written` that is kept for an hour."""
    audio_read: int = 0
    audio_wrote: int = 0
    exact: bool = True

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.read + self.wrote


@dataclass(frozen=True, slots=True)
class Answer:
    """What a connector answered: the raw result object, and what it knows of its cost.

    A cost that it knows counts; otherwise what a model used is priced.
    """

    body: Json
    cost: MicroUSD | None = None
    usage: Usage | None = None

    @property
    def failed(self) -> bool:
        """Whether a tool reported an error of its own (MCP `isError`)."""
        return self.body.get("isError") is True

    @property
    def is_question(self) -> bool:
        """Whether this is a round of a multi-round-trip request rather than the end of it."""
        return self.body.get("resultType") == "input_required"


Clock = Callable[[], float]
"""Unix time in seconds; injected so that tests can own it."""


def new_call_id(now: Clock = time.time) -> CallId:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time of creation."""
    millis = int(now() * 1000) & ((1 << 48) - 1)
    chance = int.from_bytes(os.urandom(10), "big")
    value = millis << 80 | 0x7 << 76 | chance >> 68 << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    text = f"{value:032x}"
    return CallId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
