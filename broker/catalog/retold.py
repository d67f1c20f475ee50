"""What would be known of a recorded target, had the operator said something else of it?"""

from collections.abc import Callable
from dataclasses import replace

from broker.catalog.mount import Facts, OperatorFacts, micro_usd
from broker.model import Target


def retold(before: OperatorFacts, after: OperatorFacts) -> Callable[[Target], tuple[Target, frozenset[str]]]:
    """A function from a target as it was known to what it would be, and the arguments declared anew.

    Only what differs between the facts is changed: what a target's connector said of it then stays.

    Args:
        before: the facts in force.
        after: the changed facts.
    """

    def retell(target: Target) -> tuple[Target, frozenset[str]]:
        was = before(target.name, target.kind, target.connector)
        now = after(target.name, target.kind, target.connector)
        if was == now:
            return target, frozenset()
        known = {argument.name for argument in target.arguments}
        added = tuple(argument for argument in now.arguments if argument.name not in known)
        return replace(_changed(target, was, now), arguments=(*target.arguments, *added)), frozenset(
            argument.name for argument in added
        )

    return retell


def _changed(target: Target, was: Facts, now: Facts) -> Target:
    labels = (target.labels - (was.labels - now.labels)) | (now.labels - was.labels)
    changed = replace(target, labels=labels)
    if now.side_effect not in (was.side_effect, None):
        changed = replace(changed, side_effect=now.side_effect or target.side_effect)
    if now.price_usd != was.price_usd and now.price_usd is not None:
        changed = replace(changed, price=micro_usd(now.price_usd))
    if now.risk != was.risk:
        changed = replace(changed, risk=now.risk)
    if now.min_trust != was.min_trust:
        changed = replace(changed, min_trust=now.min_trust)
    return changed
