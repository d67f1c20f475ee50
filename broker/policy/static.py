"""What can be said of a rule without a call? What it reads, and for whom and what it can hold at all.

Works on Cedar's JSON form of policies. Whatever is not understood counts as "it may": the answers only
decide what has to be looked at again, never what is permitted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

Json = Mapping[str, Any]

Uid = tuple[str, str]
"""Type and id of an entity."""

Path = tuple[str, ...]
"""Attributes of the context, from the outside in: `("num", "amount")`. `()` is the context as a whole."""

_CONTEXT = {"Var": "context"}
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Being:
    """An entity that is known by itself: nothing in it has parents of its own."""

    uid: Uid
    parents: frozenset[Uid]
    attributes: Mapping[str, Any]

    def entity(self) -> dict[str, Any]:
        """The same in Cedar's JSON form."""
        return {
            "uid": {"type": self.uid[0], "id": self.uid[1]},
            "attrs": dict(self.attributes),
            "parents": [{"type": kind, "id": name} for kind, name in sorted(self.parents)],
        }


def mentions(value: object) -> Iterator[Uid]:
    """Every entity that a policy names: `{"type": …, "id": …}` wherever it stands."""
    for item in _objects(value):
        kind, name = item.get("type"), item.get("id")
        if isinstance(kind, str) and isinstance(name, str):
            yield kind, name


def reads(value: object) -> Iterator[Path]:
    """The attributes of the context that a policy looks at."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += cast("list[object]", item)
        elif isinstance(item, dict):
            path = _path(cast("Json", item))
            if path is None:
                todo += cast("Json", item).values()
            else:
                yield path


def _path(node: Json) -> Path | None:
    """The path that an expression is, if it is one."""
    if node == _CONTEXT:
        return ()
    for operator in (".", "has"):
        access = node.get(operator)
        if isinstance(access, dict):
            fields = cast("Json", access)
            inner, attribute = fields.get("left"), fields.get("attr")
            above = _path(cast("Json", inner)) if isinstance(inner, dict) else None
            if above is not None and isinstance(attribute, str):
                return (*above, attribute)
    return None


def _objects(value: object) -> Iterator[Json]:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            yield cast("Json", item)
            todo += cast("Json", item).values()
        elif isinstance(item, list):
            todo += cast("list[object]", item)


def may_hold(policy: Json, action: str, principals: Sequence[Being], resource: Being) -> bool:
    """Whether a policy can hold for one of the principals, this action and this resource."""
    if not _fits(policy["action"], Being(("Action", action), frozenset(), {})):
        return False
    if not _fits(policy["resource"], resource):
        return False
    return any(
        _fits(policy["principal"], principal) and not _ruled_out(policy, action, principal, resource)
        for principal in principals
    )


def _fits(scope: Json, being: Being) -> bool:
    within = being.parents | {being.uid}
    match scope.get("op"):
        case "==":
            return _uid(scope["entity"]) == being.uid
        case "in":
            named = scope["entities"] if "entities" in scope else [scope["entity"]]
            return any(_uid(entity) in within for entity in named)
        case "is":
            inside = scope.get("in")
            return scope["entity_type"] == being.uid[0] and (
                inside is None or _uid(inside["entity"]) in within
            )
        case _:
            return True


def _uid(entity: Json) -> Uid:
    return (entity["type"], entity["id"])


def _ruled_out(policy: Json, action: str, principal: Being, resource: Being) -> bool:
    known = {
        "principal": principal,
        "resource": resource,
        "action": Being(("Action", action), frozenset(), {}),
    }
    for condition in policy["conditions"]:
        truth = _truth(condition["body"], known)
        if truth is None:
            return False  # it depends, or cannot be evaluated; so what follows does not matter
        if truth is not (condition["kind"] == "when"):
            return True
    return False


def _truth(node: Json, known: Mapping[str, Being]) -> bool | None:  # noqa: PLR0911 - one line an operator
    """What an expression comes to whatever the context is; None if that cannot be told."""
    (operator, fields), *_ = node.items()
    match operator:
        case "&&":
            left = _truth(fields["left"], known)
            return _truth(fields["right"], known) if left is True else left
        case "||":
            left = _truth(fields["left"], known)
            return _truth(fields["right"], known) if left is False else left
        case "!":
            inside = _truth(fields["arg"], known)
            return None if inside is None else not inside
        case "has":
            being = known.get(fields["left"].get("Var", ""))
            return None if being is None else fields["attr"] in being.attributes
        case "in":
            being, other = known.get(fields["left"].get("Var", "")), _value(fields["right"], known)
            return None if being is None or not isinstance(other, tuple) else other in _within(being)
        case _ if operator in _COMPARISONS:
            return _compared(operator, _value(fields["left"], known), _value(fields["right"], known))
        case "Value" if isinstance(fields, bool):
            return fields
        case _:
            return None


def _within(being: Being) -> frozenset[Uid]:
    return being.parents | {being.uid}


def _value(node: Json, known: Mapping[str, Being]) -> Any:
    """A constant, an attribute or an entity's uid; None if it is something else."""
    (operator, fields), *_ = node.items()
    if operator == "Value":
        entity = cast("Json", fields).get("__entity") if isinstance(fields, dict) else None
        return cast("Any", fields) if entity is None else _uid(entity)
    if operator == "Var" and fields in known:
        return known[fields].uid
    if operator == "." and fields["left"].get("Var") in known:
        return known[fields["left"]["Var"]].attributes.get(fields["attr"])
    return None


def _compared(operator: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None or type(left) is not type(right):
        return None
    if operator in ("==", "!="):
        return (left == right) is (operator == "==")
    if not isinstance(left, int) or isinstance(left, bool):
        return None
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]
