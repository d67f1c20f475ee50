"""What do the wire formats of models say? Pure: the only place that knows their fields.

Requests and answers pass as they are; these are the few questions that the broker asks of them, the same
of every format: how much may be written, what was used, which texts are in an event of a stream.
"""

from collections.abc import Mapping

from broker.formats.chat import Chat
from broker.formats.embeddings import Embeddings
from broker.formats.interface import Assembly, Delta, Format, Slot
from broker.formats.messages import Counting, Messages
from broker.formats.responses import Responses
from broker.model import Method

FORMATS: Mapping[Method, Format] = {
    Method.CHAT: Chat(),
    Method.RESPONSES: Responses(),
    Method.EMBED: Embeddings(),
    Method.MESSAGES: Messages(),
    Method.COUNT: Counting(),
}

__all__ = ["FORMATS", "Assembly", "Delta", "Format", "Slot"]
