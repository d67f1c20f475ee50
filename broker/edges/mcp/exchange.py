"""What is one HTTP exchange with a client whose token was checked? And is its body one to read?"""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from broker.edges.http import read_body
from broker.edges.mcp.headers import Fields
from broker.edges.mcp.stream import respond
from broker.edges.mcp.wire import INVALID_REQUEST, Message, Rejected, RequestId, encode_error, parse
from broker.model import Principal


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and the way to answer it. `principal` is who asks, by `token`."""

    scope: Scope
    receive: Receive
    send: Send
    fields: Fields
    token: str
    principal: Principal

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.scope["method"]

    async def message(self, limit: int) -> Message:
        """Read the body as one JSON-RPC message.

        Raises:
            Rejected: another media type is sent (415) or wanted (406); not one message (400).
            TooLarge: the body has more than `limit` bytes.
            ClientDisconnect: the client went away meanwhile.
        """
        if not _is_json(self.fields.get(b"content-type") or ""):
            raise Rejected(INVALID_REQUEST, "the Content-Type has to be application/json", http=415)
        accept = self.fields.get(b"accept") or ""
        if not (accepts(accept, "application/json") and accepts(accept, "text/event-stream")):
            both = "the Accept header has to allow application/json and text/event-stream"
            raise Rejected(INVALID_REQUEST, both, http=406)
        return parse(await read_body(self.scope, self.receive, limit))

    async def reject(self, rejected: Rejected, identity: RequestId | None = None) -> None:
        """Answer a message that breaks the protocol."""
        await respond(self.send, rejected.http, encode_error(identity, rejected.as_error()))


def accepts(accept: str, media_type: str) -> bool:
    """Whether an Accept header allows a media type (RFC 9110 §12.5.1; weights are not looked at)."""
    if media_type in accept:
        return True
    ranges = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return bool(ranges & {"*/*", media_type, media_type.partition("/")[0] + "/*"})


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"
