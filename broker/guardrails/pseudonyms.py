"""What stands in the place of a value that its reader does not see, and who may have the value put back?

A pseudonym such as `<EMAIL_1>` belongs to one transaction of one subject in one organisation. Within it the
same text has the same name, in every process. Only an agent that has been shown a pseudonym can have it
restored, and only where a policy says so; nobody is ever handed the value itself.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from broker.model import AgentId

NAME = re.compile(r"<([A-Z][A-Z0-9_]{0,39}_[1-9][0-9]{0,5})>")
"""A pseudonym as it stands in a text."""

LONGEST_NAME = 50
"""Characters of a pseudonym, with its brackets."""

LONGEST_VALUE = 1024
"""Characters: what is longer is redacted, and cannot be restored."""

MOST_NAMES = 1000
"""How many pseudonyms a transaction has at most; beyond them values are redacted."""

_LONGEST_KIND = 39
_NOT_IN_KINDS = re.compile(r"[^A-Z0-9]+")
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')


class Hidden(NamedTuple):
    """A value that is to be replaced. `people` are the keyed hashes of whom it is about."""

    guard: str
    type: str
    text: str
    people: tuple[bytes, ...] = ()

    @property
    def kind(self) -> str:
        """What its pseudonym begins with: `EMAIL`."""
        return kind_of(self.type)

    @property
    def fits(self) -> bool:
        """Whether it can be put back anywhere: what JSON escapes could end the text that it is put into."""
        return len(self.text) <= LONGEST_VALUE and not _ESCAPED.search(self.text)


class Known(NamedTuple):
    """What a pseudonym stands for, and the guard that found it."""

    name: str
    guard: str
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose pseudonyms these are: an agent in a transaction of a subject in an organisation."""

    organisation: str
    subject: str
    transaction: str
    agent: AgentId


class PseudonymStore(Protocol):
    """Where values are kept, encrypted, until their transaction has rested for a day.

    Raises (all methods):
        StorageUnavailable: nothing can be read or written now.
    """

    async def issue(
        self, holder: Holder, values: Sequence[Hidden], taken: Collection[str]
    ) -> Mapping[str, str]:
        """The pseudonym of each text, a new one where it has none; the holder has been shown it from now on.

        Args:
            holder: who will read them.
            values: what they stand for. Those that are too many have no pseudonym.
            taken: names that no new pseudonym may have.
        """
        ...

    async def known(self, holder: Holder, names: Collection[str]) -> Sequence[Known]:
        """What those of the names stand for that this holder has been shown; nothing of others."""
        ...

    async def share(self, holder: Holder, names: Collection[str], agent: AgentId) -> None:
        """Let another agent of the transaction have been shown what this holder has been shown."""
        ...


@dataclass(slots=True)
class Disguise:
    """The pseudonyms of one call. Values are in it only as long as the call runs.

    Args:
        store: where they are kept.
        find: who calls, in which transaction.
    """

    store: PseudonymStore
    find: Callable[[], Awaitable[Holder]]
    said: dict[str, Known] = field(default_factory=dict[str, Known], repr=False)
    """By name: what the caller itself has said to a model and the model was not shown."""
    hidden: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """By name: what a result held and the caller is not shown."""
    restored: dict[str, Known] = field(default_factory=dict[str, Known], repr=False)
    """By value: what was put back for a tool. Whatever it answers, the caller is not shown it."""
    _holder: Holder | None = None

    async def issue(self, values: Sequence[Hidden], taken: Collection[str]) -> Mapping[str, str]:
        """See `PseudonymStore.issue`."""
        again = self.restored
        known = {value.text: again[value.text].name for value in values if value.text in again}
        new = [value for value in values if value.fits and value.text not in known]
        return {**known, **await self.store.issue(await self._who(), new, taken)} if new else known

    async def known(self, names: Collection[str]) -> Mapping[str, Known]:
        """By name: what the caller has been shown a pseudonym of."""
        if not names:
            return {}
        return {one.name: one for one in await self.store.known(await self._who(), names)}

    async def share(self, names: Collection[str], agent: AgentId) -> None:
        """Another agent of the transaction is shown what the caller writes to it."""
        if names:
            await self.store.share(await self._who(), names, agent)

    async def take(self, names: Collection[str], agent: AgentId) -> None:
        """The caller is shown what another agent of the transaction answers it."""
        if names:
            who = await self._who()
            await self.store.share(replace(who, agent=agent), names, who.agent)

    def covered(self, text: str) -> str:
        """A text with pseudonyms for all that was restored in this call."""
        for value in sorted(self.restored, key=len, reverse=True):
            text = text.replace(value, f"<{self.restored[value].name}>")
        return text

    async def _who(self) -> Holder:
        if self._holder is None:
            self._holder = await self.find()
        return self._holder


def kind_of(found: str) -> str:
    """What the pseudonyms of a type of finding begin with: `EMAIL` for `email`."""
    kind = _NOT_IN_KINDS.sub("_", found.upper()).strip("_")
    if not kind[:1].isalpha():
        kind = f"VALUE_{kind}"
    return kind[:_LONGEST_KIND].rstrip("_")


def names_in(text: str) -> set[str]:
    """Every name that stands in a text, issued or not."""
    return set(NAME.findall(text)) if "<" in text else set()
