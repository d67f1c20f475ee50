"""What a delegation leaves open, and what is wider than that."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.limits import Limits, permits, read, shows, widened, wire
from broker.model import AgentId, Grant, GrantId, Kind, OrganisationId, Target, ToolLimit

NAMES = ["a__x", "a__y", "b__x", "ab__x", "a__"]
NUMBERS: list[Any] = [-1, 0, 1, 2, 3, 1.5, True, False, None, "1", "note", "notes", [1], {"n": 1}]
_ABSENT = object()

globs = st.sampled_from(["*", "a__*", "a__x", "*x", "a*x", "b__*", "**", "a__*x", "*__*"])
numbers = st.sampled_from([0, 1, 2, 1.5])
conditions = st.one_of(
    st.builds(lambda v: {"constraint_type": "exact", "value": v}, st.sampled_from(NUMBERS)),
    st.builds(
        lambda v: {"constraint_type": "one_of", "values": v},
        st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3),
    ),
    st.builds(lambda v: {"constraint_type": "range", "min": v}, numbers),
    st.builds(lambda v: {"constraint_type": "range", "max": v}, numbers),
    st.builds(lambda a, b: {"constraint_type": "range", "min": a, "max": b}, numbers, numbers),
    st.builds(
        lambda v: {"constraint_type": "pattern", "value": v}, st.sampled_from(["*", "note*", "n*s", "1"])
    ),
)
limits = st.lists(
    st.builds(ToolLimit, globs, st.dictionaries(st.sampled_from(["n", "m"]), conditions, max_size=2)),
    max_size=3,
).map(tuple)


def target(name: str) -> Target:
    return Target(Kind.TOOL, name, "a", name, {})


def hop(left: Limits | None, name: str = "g1") -> Grant:
    return Grant(
        GrantId(name),
        None,
        OrganisationId("acme"),
        AgentId("planner"),
        AgentId("planner"),
        AgentId("researcher"),
        1,
        4,
        "txn",
        0,
        0,
        limits=left,
    )


def open_calls(left: Limits) -> set[tuple[str, int, int]]:
    """Every call of a small world that some limits leave open."""
    values = [_ABSENT, *NUMBERS]
    found = set()
    for name, (i, n), (j, m) in product(NAMES, enumerate(values), enumerate(values)):
        arguments = {k: v for k, v in (("n", n), ("m", m)) if v is not _ABSENT}
        if permits([hop(left)], target(name), {"arguments": arguments}) is None:
            found.add((name, i, j))
    return found


@given(wished=limits, given_=limits)
def test_what_is_not_refused_as_wider_is_not_wider(wished: Limits, given_: Limits):
    if widened(wished, [hop(given_)]) is None:
        assert open_calls(wished) <= open_calls(given_)


@settings(max_examples=500)
@given(narrow=conditions, wide=conditions)
def test_a_condition_that_is_not_refused_as_wider_holds_for_no_more(narrow: dict, wide: dict):
    mine, given_ = ((ToolLimit("a__x", {"n": condition}),) for condition in (narrow, wide))
    if widened(mine, [hop(given_)]) is None:
        assert open_calls(mine) <= open_calls(given_)


@given(left=limits)
def test_what_is_open_is_shown_and_limits_are_within_themselves(left: Limits):
    shown = {name for name in NAMES if shows([hop(left)], target(name))}
    assert {name for name, _, _ in open_calls(left)} <= shown
    assert widened(left, [hop(left)]) is None


@given(left=limits)
def test_limits_come_back_from_the_wire(left: Limits):
    assert read(wire(left)) == left


def test_every_hop_has_to_leave_a_call_open_and_the_first_that_does_not_is_named():
    hops = [hop((ToolLimit("a__*"),), "g2"), hop((ToolLimit("*__x"),), "g1")]
    assert permits(hops, target("a__x"), {}) is None
    assert permits(hops, target("b__x"), {}).rule == "delegation/g2"
    assert permits(hops, target("a__y"), {}).rule == "delegation/g1"
    assert permits([hop(None)], target("a__y"), {}) is None
    assert (
        permits([hop(())], target("a__y"), {}).text
        == "`planner` delegated to `researcher` no more than nothing"
    )


@pytest.mark.parametrize(
    ("condition", "fits", "fits_not"),
    [
        ({"constraint_type": "exact", "value": 1}, [1, 1.0], [True, "1", 2, None, [1]]),
        (
            {"constraint_type": "exact", "value": {"a": [1]}},
            [{"a": [1]}],
            [{"a": [True]}, {"a": [1], "b": 1}],
        ),
        ({"constraint_type": "one_of", "values": ["a", False]}, ["a", False], [0, "", "A"]),
        (
            {"constraint_type": "range", "min": 1, "max": 2},
            [1, 1.5, 2],
            [0.9, 2.1, True, "1", None, float("nan")],
        ),
        ({"constraint_type": "pattern", "value": "INV-*"}, ["INV-", "INV-7"], ["inv-7", 7, None, ["INV-7"]]),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_condition_holds_for_exactly_these(condition: dict, fits: list, fits_not: list):
    left = (ToolLimit("a__x", {"n": condition}),)
    for value in fits:
        assert permits([hop(left)], target("a__x"), {"arguments": {"n": value}}) is None
    for value in fits_not:
        assert permits([hop(left)], target("a__x"), {"arguments": {"n": value}}) is not None
    for params in ({}, {"arguments": {}}, {"arguments": {"m": fits[0]}}, {"arguments": [fits[0]]}):
        assert permits([hop(left)], target("a__x"), params) is not None


@pytest.mark.parametrize(
    "details",
    [
        None,
        {},
        [None],
        [{"type": "io.toolbroker/tools"}],
        [{"type": "x", "tools": {}}],
        [{"type": "io.toolbroker/tools", "tools": {}, "more": 1}],
        [{"type": "io.toolbroker/tools", "tools": {"": {}}}],
        [{"type": "io.toolbroker/tools", "tools": {"a": {"n": {"constraint_type": "range", "min": True}}}}],
        [{"type": "io.toolbroker/tools", "tools": {str(n): {} for n in range(65)}}],
    ],
    ids=lambda value: str(value)[:60],
)
def test_details_that_say_something_else_are_refused(details: object):
    with pytest.raises(ValueError):
        read(details)
