"""What does the broker itself offer to agents? Tools like any others: found, decided, paid and recorded so.

They are there where an operator enables them (`use = "broker"`), and for those whose roles name them:
`*` does not mean them (`broker/policy/selection.py`).
"""

from typing import Annotated

from pydantic import Field

from broker.audit.interface import Entry, Event, Facts
from broker.connector import Connector, Line, ToolFailed
from broker.journal import JournalStore
from broker.model import OWN_CONNECTOR

Labels = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]],
    Field(min_length=1, max_length=20, description="labels of what was read, e.g. private-data"),
]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=500, description="why that is safe; a human may be asked, and it is kept"),
]


def own_tools(journal: JournalStore) -> Connector:
    """The broker's own connector.

    Args:
        journal: where transactions are, and what has been done in them.
    """
    own = Connector(OWN_CONNECTOR)

    # A label of its own: what has none counts as an untrusted source, and would leave another taint behind.
    @own.tool(title="Declassify", labels=("declassifies",))
    async def declassify(labels: Labels, reason: Reason, line: Line) -> dict[str, list[str]]:
        """Let labels of all that was read for your present task no longer count against what you do next.

        Use it only if you were told why that is safe. What is read afterwards counts again.
        """
        made = await journal.past(line.call_id)
        if made is None:
            raise ToolFailed("this is no call that the broker has recorded")

        def entry(had: frozenset[str]) -> Entry:
            facts: Facts = {
                "transaction": made.transaction,
                "labels": sorted(had),
                "by": made.agent,
                "reason": reason,
            }
            return Entry(made.log, Event.TRANSACTION_DECLASSIFIED, facts, made.call, made.agent)

        had = await journal.declassify(made.transaction, frozenset(labels), entry)
        return {"declassified": sorted(had)}

    return own
