"""Was the same thing read a moment ago? Answers of tools that are declared cacheable, in memory.

An answer is found again only for callers of the same class and on the same terms: same organisation, same
roles, teams and attributes along the chain, same limits of delegation, same policies, same catalogue, same
parameters. What holds private data is found again by the same agents only.

It is kept as the tool gave it; whoever finds it has been authenticated and judged, and what it holds is
screened for him.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import orjson

from broker.model import Agent, Answer, Json, Method, Principal, SideEffect, Target

PRIVATE = frozenset({"private-data", "pii"})
"""Labels of what one agent must not find because another has asked for it."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer of before, and the call that it was given to."""

    call: str
    body: bytes


class Cache:
    """Forgets what has rested longest as soon as it holds more than it may.

    Args:
        most_bytes: of all answers together.
        clock: seconds that only grow.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most_bytes
        self._clock = clock
        self._held = 0
        self._answers: OrderedDict[Hashable, tuple[float, Found]] = OrderedDict()

    def find(self, key: Hashable) -> Found | None:
        """An answer that has not expired."""
        kept = self._answers.get(key)
        if kept is None:
            return None
        expires, found = kept
        if expires <= self._clock():
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return found

    def keep(self, key: Hashable, call: str, answer: Answer, seconds: int) -> None:
        """Keep an answer for a while, unless it failed or is not the end of its call."""
        if answer.failed or answer.is_question:
            return
        try:
            body = orjson.dumps(answer.body)
        except TypeError:  # integers beyond 64 bits, lone surrogates
            return
        self._drop(key)
        self._answers[key] = self._clock() + seconds, Found(call, body)
        self._held += len(body)
        while self._held > self._most:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Hashable) -> None:
        kept = self._answers.pop(key, None)
        if kept is not None:
            self._held -= len(kept[1].body)


def cacheable(target: Target) -> bool:
    """Whether it is declared so, only reads, and nobody else acts in it."""
    return target.cache_s > 0 and target.side_effect is SideEffect.READS and target.agent is None


def key_of(
    principal: Principal, method: Method, target: Target, params: Json, *, policy: str, catalogue: int
) -> Hashable | None:
    """What an answer is found again by; None where that cannot be said.

    Args:
        principal: who asks.
        method: how.
        target: what.
        params: the final parameters.
        policy: the version of the policies that permit it.
        catalogue: the version of what exists.
    """
    try:
        asked = orjson.dumps(params, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    private = not PRIVATE.isdisjoint(target.labels)
    chain = tuple(_class_of(actor, private=private) for actor in principal.actors)
    limits = orjson.dumps([grant.limits for grant in principal.grants]) if principal.grants else b""
    return principal.organisation, chain, limits, method, target.name, policy, catalogue, asked


def _class_of(actor: Agent, *, private: bool) -> Hashable:
    return (
        actor.organisation,
        actor.roles,
        actor.team,
        tuple(sorted(actor.attributes.items())),
        actor.id if private else None,
    )
