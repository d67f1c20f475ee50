import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import InvalidRequest
from broker.identity.seals import Sealer
from tests.unit.identity.memory import ManualClock

KEY, OTHER = bytes(range(32)), bytes(32)
json_objects = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
)


@given(json_objects, st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_for_a_purpose_comes_back_for_it_in_visible_ascii(claims, purpose):
    sealer = Sealer(KEY)
    token = sealer.seal(purpose, claims, 60)
    assert token.isascii()
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert sealer.open(purpose, token) == claims


@given(
    st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(b"\x01" + data).decode().rstrip("="))
)
def test_nothing_that_was_not_sealed_can_be_opened(token):
    with pytest.raises(InvalidRequest, match="not issued by this broker"):
        Sealer(KEY).open("session", token)


OTHERS = "ABCXYZabcxyz0189-_=+/ \n"


@given(st.integers(min_value=0), st.integers(0, len(OTHERS) - 1))
def test_every_changed_character_breaks_the_seal(place, choice):
    # A seal is new each time, so nothing that is drawn may depend on it.
    token = Sealer(KEY).seal("session", {"agent": "a"}, 60)
    place %= len(token)
    other = next(c for c in OTHERS[choice:] + OTHERS[:choice] if c != token[place])
    with pytest.raises(InvalidRequest):
        Sealer(KEY).open("session", token[:place] + other + token[place + 1 :])


def test_a_seal_for_one_purpose_does_not_open_for_another():
    token = Sealer(KEY).seal("session", {}, 60)
    with pytest.raises(InvalidRequest):
        Sealer(KEY).open("request-state", token)


def test_a_seal_of_another_deployment_does_not_open():
    with pytest.raises(InvalidRequest):
        Sealer(OTHER).open("session", Sealer(KEY).seal("session", {}, 60))


def test_a_seal_of_a_retired_key_still_opens_and_new_ones_use_the_new_key():
    old = Sealer(KEY).seal("session", {"n": 1}, 60)
    rotated = Sealer(OTHER, KEY)
    assert rotated.open("session", old) == {"n": 1}
    assert Sealer(OTHER).open("session", rotated.seal("session", {"n": 2}, 60)) == {"n": 2}


def test_a_seal_opens_until_its_last_second_and_then_says_that_it_has_expired():
    clock = ManualClock()
    sealer = Sealer(KEY, clock=clock)
    token = sealer.seal("session", {}, 60)
    clock.now += 59.9
    assert sealer.open("session", token) == {}
    clock.now += 0.1
    with pytest.raises(InvalidRequest, match="this session has expired"):
        sealer.open("session", token)


def test_padding_and_a_second_spelling_are_refused():
    token = next(t for n in range(4) if len(t := Sealer(KEY).seal("s", {"p": "x" * n}, 60)) % 4)
    with pytest.raises(InvalidRequest):
        Sealer(KEY).open("s", token + "=" * (-len(token) % 4))


def test_two_seals_of_the_same_claims_differ():
    assert Sealer(KEY).seal("s", {}, 60) != Sealer(KEY).seal("s", {}, 60)
