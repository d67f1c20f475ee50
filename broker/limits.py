"""What does a delegation leave open? Limits on targets and arguments, as pure functions.

On the wire they are `authorization_details` (RFC 9396 §2) of one type:

    {"type": "io.toolbroker/tools",
     "tools": {"crm__refund": {"amount": {"constraint_type": "range", "max": 50}}}}

A call is open if one entry matches its target's name and all conditions on its arguments hold. What
cannot be compared counts as wider: a delegation that might widen is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from broker.errors import Because, Denied
from broker.model import Grant, Json, Target, ToolLimit
from broker.patterns import covers, matches

DETAILS_TYPE: Final = "io.toolbroker/tools"
MOST_LIMITS: Final = 64
MOST_VALUES: Final = 64
MOST_CHARS: Final = 256

Limits = tuple[ToolLimit, ...]
_SHAPES: Final = {
    "exact": frozenset({"value"}),
    "one_of": frozenset({"values"}),
    "range": frozenset({"min", "max"}),
    "pattern": frozenset({"value"}),
}


def permits(grants: Sequence[Grant], target: Target, params: Json) -> Because | None:
    """The first hop that does not leave this call open, as the reason of a refusal; None if all do."""
    for grant in grants:
        if grant.limits is not None and not _leaves_open(grant.limits, target.name, params):
            return _because(grant, grant.limits)
    return None


def shows(grants: Sequence[Grant], target: Target) -> bool:
    """Whether every hop leaves a target open under *some* arguments."""
    return all(
        grant.limits is None or any(matches(limit.match, target.name) for limit in grant.limits)
        for grant in grants
    )


def widened(wished: Limits, hops: Sequence[Grant]) -> ToolLimit | None:
    """The first wished entry that some hop above would not leave open as a whole; None if none widens."""
    for grant in hops:
        if grant.limits is not None:
            for limit in wished:
                if not any(_within(limit, wide) for wide in grant.limits):
                    return limit
    return None


def ended(grant: Grant, why: str) -> Denied:
    """The refusal of a call under a hop that is over; `why` completes the sentence."""
    return Denied(
        f"the delegation from `{grant.by}` to `{grant.to}` {why}",
        because=(Because(f"delegation/{grant.id}", why),),
        hint=f"ask `{grant.by}` to delegate again",
    )


def read(details: object) -> Limits:
    """Limits from `authorization_details`.

    Raises:
        ValueError: they do not say what this broker understands (RFC 9396 §5); the message says where.
    """
    if not isinstance(details, list):
        raise ValueError("authorization_details is a list of objects")  # noqa: TRY004 - one kind of mistake
    limits: list[ToolLimit] = []
    for detail in cast("list[Any]", details):
        fields = _object(detail, "an entry of authorization_details")
        if fields.keys() != {"type", "tools"} or fields["type"] != DETAILS_TYPE:
            raise ValueError(f"an entry has exactly a type, {DETAILS_TYPE}, and tools")
        for match, arguments in _object(fields["tools"], "tools").items():
            limits.append(_limit(match, arguments))
    if len(limits) > MOST_LIMITS:
        raise ValueError(f"at most {MOST_LIMITS} tools can be named")
    return tuple(limits)


def wire(limits: Limits) -> list[Json]:
    """Limits as `authorization_details`; entries of one name go into objects of their own."""
    return [
        {"type": DETAILS_TYPE, "tools": {limit.match: {k: dict(v) for k, v in limit.arguments.items()}}}
        for limit in limits
    ]


def _leaves_open(limits: Limits, name: str, params: Json) -> bool:
    given = params.get("arguments")
    arguments: Json = cast("Json", given) if isinstance(given, dict) else {}
    return any(matches(limit.match, name) and _hold(limit.arguments, arguments) for limit in limits)


def _hold(conditions: Mapping[str, Json], arguments: Json) -> bool:
    return all(
        name in arguments and _holds(condition, arguments[name]) for name, condition in conditions.items()
    )


def _holds(condition: Json, value: Any) -> bool:
    match condition["constraint_type"]:
        case "exact":
            return _same(condition["value"], value)
        case "one_of":
            return any(_same(one, value) for one in condition["values"])
        case "range":
            least, most = condition.get("min"), condition.get("max")
            return _is_number(value) and (least is None or least <= value) and (most is None or value <= most)
        case "pattern":
            return isinstance(value, str) and matches(condition["value"], value)
        case _:
            return False


def _within(narrow: ToolLimit, wide: ToolLimit) -> bool:
    """Whether all that `narrow` leaves open, `wide` does."""
    return covers(wide.match, narrow.match) and all(
        name in narrow.arguments and _implies(narrow.arguments[name], condition)
        for name, condition in wide.arguments.items()
    )


def _implies(narrow: Json, wide: Json) -> bool:
    """Whether each value that fulfils `narrow` fulfils `wide`; False where that cannot be told."""
    match narrow["constraint_type"], wide["constraint_type"]:
        case "exact", _:
            return _holds(wide, narrow["value"])
        case "one_of", _:
            return all(_holds(wide, value) for value in narrow["values"])
        case "range", "range":
            return _not_below(narrow.get("min"), wide.get("min")) and _not_above(
                narrow.get("max"), wide.get("max")
            )
        case "pattern", "pattern":
            return covers(wide["value"], narrow["value"])
        case _:
            return False


def _not_below(least: float | None, bound: float | None) -> bool:
    return bound is None or (least is not None and least >= bound)


def _not_above(most: float | None, bound: float | None) -> bool:
    return bound is None or (most is not None and most <= bound)


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; unlike Python's, `true` is not `1`."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        mine, theirs = cast("list[Any]", one), cast("list[Any]", other)
        return len(mine) == len(theirs) and all(map(_same, mine, theirs))
    if isinstance(one, dict) and isinstance(other, dict):
        these, those = cast("Json", one), cast("Json", other)
        return these.keys() == those.keys() and all(_same(these[key], those[key]) for key in these)
    return one == other


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limit(match: str, arguments: object) -> ToolLimit:
    if not match or len(match) > MOST_CHARS:
        raise ValueError(
            f"a tool is a name of at most {MOST_CHARS} characters, in which * stands for any text"
        )
    conditions = {
        name: _condition(name, condition)
        for name, condition in _object(arguments, f"the arguments of {match}").items()
    }
    return ToolLimit(match, conditions)


def _condition(name: str, condition: object) -> Json:
    fields = _object(condition, f"the condition on {name}")
    kind = fields.get("constraint_type")
    given = frozenset(fields) - {"constraint_type"}
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise ValueError(f"the constraint_type of {name} is one of {', '.join(_SHAPES)}")
    if not given or not given <= shape or (kind != "range" and given != shape):
        raise ValueError(f"the condition on {name} has {' or '.join(sorted(shape))}")
    if kind == "one_of":
        _check_values(name, fields["values"])
    elif kind == "range" and not all(_is_number(fields[bound]) for bound in given):
        raise ValueError(f"the bounds of {name} are numbers")
    elif kind == "pattern" and not isinstance(fields["value"], str):
        raise ValueError(f"the pattern of {name} is a text in which * stands for any text")
    return fields


def _check_values(name: str, values: object) -> None:
    if not isinstance(values, list) or not 1 <= len(cast("list[Any]", values)) <= MOST_VALUES:
        raise ValueError(f"the values of {name} are a list of 1 to {MOST_VALUES}")


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"{what} has to be an object")  # noqa: TRY004 - one kind of mistake
    return cast("Json", value)


def _because(grant: Grant, limits: Limits) -> Because:
    names = ", ".join(f"`{limit.match}`" for limit in limits[:5]) or "nothing"
    more = ", …" if len(limits) > 5 else ""
    conditions = " under conditions" if any(limit.arguments for limit in limits) else ""
    text = f"`{grant.by}` delegated to `{grant.to}` no more than {names}{more}{conditions}"
    return Because(f"delegation/{grant.id}", text)
