"""A call pays in the stretch of time in which it began."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given

from broker.ledger.interface import Budget, Unit
from broker.ledger.windows import PARTS, over, window_of

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


@pytest.mark.parametrize(
    ("moment", "window", "zone", "turns"),
    [
        ("2026-03-01T09:30:15+00:00", "minute", UTC, "2026-03-01T09:31:00+00:00"),
        ("2026-03-01T09:30:15+00:00", "hour", UTC, "2026-03-01T10:00:00+00:00"),
        ("2026-12-31T22:30:15+00:00", "day", UTC, "2027-01-01T00:00:00+00:00"),
        ("2026-12-31T22:30:15+00:00", "month", UTC, "2027-01-01T00:00:00+00:00"),
        ("2026-10-25T00:30:00+00:00", "day", BERLIN, "2026-10-25T23:00:00+00:00"),  # a day of 25 hours
        ("2026-10-25T00:30:00+00:00", "hour", BERLIN, "2026-10-25T01:00:00+00:00"),
        ("2026-03-01T09:30:15+00:00", "24h", UTC, "2026-03-01T10:00:00+00:00"),
    ],
)
def test_it_is_known_when_there_is_room_again(moment: str, window: str, zone, turns: str):
    found = window_of(window)
    assert found is not None
    now = datetime.fromisoformat(moment).timestamp()
    assert found.turns(now, zone) == datetime.fromisoformat(turns).timestamp()
    assert window_of("total").turns(now, zone) is None  # type: ignore[union-attr]


@given(
    st.integers(0, 4_000_000_000),
    st.sampled_from(["minute", "hour", "day", "month", "90m", "30d"]),
    st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")]),
)
def test_a_window_turns_into_another_and_is_not_over_before_that(moment: int, name: str, zone):
    window = window_of(name)
    assert window is not None
    turns = window.turns(moment, zone)
    assert turns is not None
    assert moment < turns
    assert window.at(turns - 1, zone) == window.at(moment, zone) != window.at(turns, zone)
    assert not over(window.at(moment, zone), turns + (window.seconds or 0))
    assert over(window.at(moment, zone), moment + 2 * (window.seconds or 0) + 40 * 86400)


@pytest.mark.parametrize("text", ["", "day", "day:never", "1m:x", "24h:", "week:1", "b#day:2026-01-01"])
def test_what_is_no_window_is_never_over(text: str):
    assert not over(text, 2**40)
