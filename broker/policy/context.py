"""What do rules see of a call? Only what some rule that can apply reads, as a key and as Cedar's context.

Two calls with the same key cannot be told apart by any rule, so the answer to one is the answer to both.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, cast

from broker.arguments import UnreadableArgumentError, values
from broker.model import Argument, Clock, Json, Origin, Principal, Role, Situation, Target
from broker.policy.static import Path

MOST_COMBINATIONS = 64
"""How many combinations of the items of lists are asked about; a call with more is refused."""

Seen = tuple[Any, ...]
"""What was looked at, in the order of the lens."""


class UnreadableCallError(ValueError):
    """An argument that rules speak about cannot be read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One call, as a lens looks at it."""

    principal: Principal
    params: Json
    situation: Situation


_Look = Callable[[Moment], Any]
_COUNTED = {"counters": "", "sums": "sum.", "distinct": "distinct."}
_GROUPS = ("num", "str", "provenance", *_COUNTED)


class Lens:
    """What rules see of the calls of one target by chains of one kind.

    Args:
        paths: what the rules read.
        target: what is called.
        asked: the rules for which a human may be asked.
        clock: Unix time in seconds.
    """

    def __init__(self, paths: Collection[Path], target: Target, asked: frozenset[str], clock: Clock) -> None:
        self._declared = {argument.name: argument for argument in target.arguments}
        self._asked = asked
        self._clock = clock
        looks = [(path, look) for path in sorted(paths) if (look := self._look_at(path)) is not None]
        self._paths = tuple(path for path, _ in looks)
        self._looks = tuple(look for _, look in looks)

    @property
    def is_blind(self) -> bool:
        """Whether rules see nothing but who asks for what."""
        return not self._looks

    def look(self, principal: Principal, params: Json, situation: Situation) -> Seen:
        """All that the rules can see of a call; hashable.

        Raises:
            UnreadableCallError: a declared argument is not what was declared.
        """
        moment = Moment(principal, params, situation)
        return tuple([look(moment) for look in self._looks])

    def contexts(self, seen: Seen, fixed: Json, approved: frozenset[str]) -> list[str]:
        """The contexts to ask Cedar about, as JSON: one for each combination of items of lists.

        Args:
            seen: what `look` returned.
            fixed: what is the same for every call of the chain.
            approved: the rules for which a human has agreed.

        Raises:
            UnreadableCallError: there are too many combinations.
        """
        single: list[tuple[Path, Any]] = []
        several: list[list[tuple[Path, Any]]] = []
        for path, value in zip(self._paths, seen, strict=True):
            if path[0] in ("num", "str"):
                several.append([(path, item) for item in value] or [(path, None)])
            elif path != ("approved",):
                single.append((path, _plain(value)))
        combinations = 1
        for items in several:
            combinations *= len(items)
        if combinations > MOST_COMBINATIONS:
            raise UnreadableCallError(f"its lists have more than {MOST_COMBINATIONS} combinations to judge")
        base = {**fixed, "approved": sorted(approved)}
        return [json.dumps(_nested(base, [*single, *chosen])) for chosen in product(*several)]

    def _look_at(self, path: Path) -> _Look | None:
        """How to find out what stands at a path; None for what the chain fixes and what the target lacks."""
        if len(path) == 1:
            looks: dict[str, _Look] = {
                "min_trust": _trust,
                "task": _task,
                "taint": _taint,
                "hour": lambda _: int(self._clock()) // 3600 % 24,
                "approved": lambda moment: moment.situation.approved & self._asked,
                "destinations": partial(_origins, self._of(Role.DESTINATION)),
                "amounts": partial(_origins, self._of(Role.AMOUNT)),
            }
            return looks.get(path[0])
        group, name = path
        if group in _COUNTED:
            return partial(_count, _COUNTED[group] + name)
        argument = self._declared.get(name)
        if argument is None:
            return None
        return partial(_origin if group == "provenance" else _values, argument)

    def _of(self, role: Role) -> list[Argument]:
        return [argument for argument in self._declared.values() if argument.role is role]


def _plain(value: Any) -> Any:
    return sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value


def _trust(moment: Moment) -> int:
    return moment.situation.trust


def _task(moment: Moment) -> str | None:
    return moment.principal.grants[-1].task if moment.principal.grants else None


def _taint(moment: Moment) -> frozenset[str]:
    return moment.situation.taint


def _values(argument: Argument, moment: Moment) -> tuple[int, ...] | tuple[str, ...]:
    try:
        return values(argument, moment.params)
    except UnreadableArgumentError as error:
        raise UnreadableCallError(f"its argument `{argument.path}` {error}") from None


def _origin(argument: Argument, moment: Moment) -> str | None:
    """Where the value comes from; nobody knows, if nobody says."""
    if not _values(argument, moment):
        return None
    return str(moment.situation.provenance.get(argument.name, Origin.UNSEEN))


def _origins(arguments: Sequence[Argument], moment: Moment) -> frozenset[str]:
    found = (_origin(argument, moment) for argument in arguments)
    return frozenset(origin for origin in found if origin is not None)


def _count(name: str, moment: Moment) -> int:
    return moment.situation.counters.get(name, 0)


def _nested(base: Json, found: Collection[tuple[Path, Any]]) -> Json:
    context: Json = {**base, **{group: {} for group in _GROUPS}}
    for path, value in found:
        if value is None:
            continue
        if len(path) == 1:
            context[path[0]] = value
        else:
            context[path[0]][path[1]] = value
    return context


def expanded(paths: Collection[Path], arguments: Sequence[Argument], counters: Sequence[str]) -> set[Path]:
    """The same paths, each down to a single value: a rule may also look at a whole record."""
    return {leaf for path in paths for leaf in _leaves(path, arguments, counters)}


def _leaves(path: Path, arguments: Sequence[Argument], counters: Sequence[str]) -> Iterator[Path]:
    numbers = [a.name for a in arguments if a.scale is not None]
    texts = [a.name for a in arguments if a.scale is None]
    inside = {"num": numbers, "str": texts, "provenance": [*numbers, *texts]}
    inside |= {"counters": list(counters), "sums": numbers, "distinct": texts}
    if not path:
        for name in ("depth", "attestation", "min_trust", "hour", "task", "taint", "approved"):
            yield (name,)
        yield ("destinations",)
        yield ("amounts",)
        for group in _GROUPS:
            yield from _leaves((group,), arguments, counters)
    elif len(path) == 1 and path[0] in inside:
        yield from ((path[0], name) for name in inside[path[0]])
    else:
        yield path
