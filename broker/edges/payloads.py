"""How is what was said in a call told? The same as data everywhere."""

import json

from broker.audit.payloads import Opened
from broker.model import Json


def payload_facts(opened: Opened) -> Json:
    """One payload as data. Where it does not hold nothing of it is shown: it is not what was said."""
    facts: Json = {
        "log": opened.log,
        "call": opened.call,
        "seq": opened.seq,
        "part": opened.part,
        "holds": opened.holds,
        "lost": opened.lost,
    }
    if not opened.holds:
        return facts
    facts["salt"] = opened.salt.hex()
    facts["kept"] = opened.content is not None
    if opened.content is not None:
        facts["content"] = json.loads(opened.content)
    return facts
