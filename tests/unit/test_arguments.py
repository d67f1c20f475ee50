"""What rules get to see of a declared argument: exact, or nothing at all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.arguments import UnreadableArgumentError, values
from broker.model import Argument

AMOUNT = Argument("amount", "amount", 2)
TO = Argument("to", "mail.to")


def of(argument, **arguments):
    return values(argument, {"arguments": arguments})


@pytest.mark.parametrize(
    ("given_value", "seen"),
    [
        (19.99, 1999),
        (20, 2000),
        ("20.5", 2050),
        ("-0.01", -1),
        (1e3, 100000),
        (9e16, 9 * 10**18),
        (True, None),
        ("1e3", None),
        ("\uff110", None),
        (" 10", None),
        ("10\n", None),
        (0.1 + 0.2, None),
        (19.999, None),
        (1e308, None),
        (float("inf"), None),
        (float("nan"), None),
        (2**63, None),
        ({}, None),
    ],
)
def test_a_number_is_exact_in_the_smallest_unit_or_unreadable(given_value, seen):
    if seen is None:
        with pytest.raises(UnreadableArgumentError):
            of(AMOUNT, amount=given_value)
    else:
        assert of(AMOUNT, amount=given_value) == (seen,)


def test_a_number_of_thousands_of_digits_is_too_large_and_breaks_nothing():
    with pytest.raises(UnreadableArgumentError, match="too large"):
        of(AMOUNT, amount=10**5000)
    with pytest.raises(UnreadableArgumentError):
        of(TO, mail={"to": 10**5000})


@given(st.decimals(-(10**12), 10**12, places=2))
def test_no_amount_of_two_places_is_changed_on_the_way(amount):
    expected = (int(amount * 100),)
    assert of(AMOUNT, amount=str(amount)) == expected
    if Decimal(repr(float(amount))) == amount:
        assert of(AMOUNT, amount=float(amount)) == expected


@pytest.mark.parametrize("bad", [True, 1.5, {}, "\ud800", 2**63])
def test_a_text_is_a_text_or_a_whole_number_in_digits(bad):
    assert of(TO, mail={"to": "a@b"}) == ("a@b",)
    assert of(TO, mail={"to": 42}) == ("42",)
    with pytest.raises(UnreadableArgumentError):
        of(TO, mail={"to": bad})


def test_each_different_item_of_every_list_on_the_way_is_a_value():
    assert of(TO, mail=[{"to": ["a", "b"]}, {"to": "a"}, {"to": [["c"]]}, {}]) == ("a", "b", "c")


def test_what_is_absent_or_null_has_no_value():
    for arguments in ({}, {"mail": None}, {"mail": {}}, {"mail": {"to": None}}, {"mail": []}):
        assert of(TO, **arguments) == ()
    assert values(TO, {}) == ()


def test_a_shape_that_was_not_declared_and_too_many_values_are_unreadable():
    with pytest.raises(UnreadableArgumentError, match="has no `to` in it"):
        of(TO, mail="a@b")
    with pytest.raises(UnreadableArgumentError, match="more than 64 values"):
        of(TO, mail={"to": [str(n) for n in range(65)]})
    with pytest.raises(UnreadableArgumentError):
        values(TO, {"arguments": "mail"})
