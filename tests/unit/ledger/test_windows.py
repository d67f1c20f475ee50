"""A call pays in the stretch of time in which it began."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given

from broker.ledger.interface import Budget, Unit
from broker.ledger.windows import PARTS, window_of

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, window: str, zone=UTC) -> str:
    found = window_of(window)
    assert found is not None
    return found.at(datetime.fromisoformat(text).timestamp(), zone)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("total", ""),
        ("minute", "minute:2026-03-01T09:30+0000"),
        ("hour", "hour:2026-03-01T09+0000"),
        ("day", "day:2026-03-01"),
        ("month", "month:2026-03"),
    ],
)
def test_a_window_is_named_by_the_calendar(window: str, expected: str):
    assert at("2026-03-01T09:30:15+00:00", window) == expected


def test_a_day_begins_at_midnight_where_the_organisation_is():
    assert at("2026-07-31T22:30:00+00:00", "day", BERLIN) == "day:2026-08-01"
    assert at("2026-07-31T22:30:00+00:00", "month", BERLIN) == "month:2026-08"


def test_the_hour_that_a_clock_shows_twice_is_two_windows():
    before, after = "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"
    assert at(before, "hour", BERLIN) != at(after, "hour", BERLIN)


@pytest.mark.parametrize("text", ["", "week", "0h", "24", "h", "1.5h", "-1h", "24 h", "99999h"])
def test_what_is_no_window_is_none(text: str):
    assert window_of(text) is None


@given(st.integers(0, 4_000_000_000), st.integers(0, 3600 * 24))
def test_a_rolling_window_counts_everything_within_its_length(spent_at: int, later: int):
    window = window_of("24h")
    assert window is not None
    then = Budget("agent:a", 1, window.at(spent_at, UTC), Unit.USD, window.parts)
    now = Budget("agent:a", 1, window.at(spent_at + later, UTC), Unit.USD, window.parts)
    assert then.account in now.accounts


def test_a_rolling_window_forgets_a_twelfth_at_a_time():
    window = window_of("24h")
    assert window is not None
    long_ago = Budget("agent:a", 1, window.at(0, UTC), Unit.USD, window.parts)
    now = Budget("agent:a", 1, window.at(86400 + 2 * 86400 / PARTS, UTC), Unit.USD, window.parts)
    assert long_ago.account not in now.accounts
