"""How else can a text be read? Decoded, and without what is hidden in it."""

from collections.abc import Sequence

from broker.guardrails.message import Message, View


def views_of(message: Message) -> Sequence[View]:
    """The other readings of a message."""
    if message.text.isascii():
        return ()
    return ()
