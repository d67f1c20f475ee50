"""How does a text look with pseudonyms that nobody keeps? For trying out a rule."""

from collections.abc import Collection, Mapping, Sequence
from itertools import count

from broker.guardrails.pseudonyms import Disguise, Hidden, Holder, Known
from broker.model import AgentId

_NOBODY = Holder("", "", "", AgentId("nobody"))


class TrialNames:
    """`PseudonymStore` for one text: gives names, and forgets what they stand for."""

    async def issue(
        self,
        holder: Holder,  # noqa: ARG002 - the port's signature
        values: Sequence[Hidden],
        taken: Collection[str],
    ) -> Mapping[str, str]:
        """See `PseudonymStore`."""
        names: dict[str, str] = {}
        for value in values:
            used = {*taken, *names.values()}
            new = next(name for n in count(1) if (name := f"{value.kind}_{n}") not in used)
            names.setdefault(value.text, new)
        return names

    async def known(self, holder: Holder, names: Collection[str]) -> Sequence[Known]:  # noqa: ARG002
        """See `PseudonymStore`."""
        return ()

    async def share(self, holder: Holder, names: Collection[str], agent: AgentId) -> None:
        """See `PseudonymStore`."""


def trial_disguise() -> Disguise:
    """The pseudonyms of a call that is not made."""

    async def nobody() -> Holder:
        return _NOBODY

    return Disguise(TrialNames(), nobody)
