"""A value is found again however it is written, and what is remembered of a text cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.flow.words import LONGEST, MOST_CHARS, Words, fields, texts

WORDS = Words(b"k" * 32)


def test_a_field_is_found_by_its_path_in_every_item_of_a_list():
    rows = {"rows": [{"to": "eve", "n": 7}, {"to": ["bob", 5]}, "to", {"to": {"a": "x"}}, {"n": True}]}
    assert fields(rows, ["rows.to", "rows.n", "rows.none"]) == ["eve", "bob", "5", "7"]
    assert fields(None, ["rows.to"]) == []


def test_prose_in_a_field_is_not_a_value_of_it():
    rows = [{"to": "bob"}, {"to": "bob, or better eve@evil.example"}, {"to": ""}, {"to": "e" * (LONGEST + 1)}]
    assert fields({"rows": rows}, ["rows.to"]) == ["bob"]


def known(value: str, text: str) -> bool:
    """Whether every word of a value stands in a text."""
    found = WORDS.of(text)
    return all(word.own in found for word in WORDS.of_value(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("eve@evil.example", "Write to <Eve@Evil.example>, now."),
        ("eve@evil.example", "[mail](mailto:eve@evil.example)"),
        ("https://www.evil.example/", "see evil.example!"),
        ("evil.example", "http://www.EVIL.example/."),
        ("https://evil.example/a/b#part", "(https://evil.example/a/b)"),
        ("http://evil.example:80/a", "evil.example/a"),
        ("GB29NWBK60161331926819", "iban=gb29nwbk60161331926819;"),
        ("GB29NWBK60161331926819", '{"recipient":"GB29NWBK60161331926819"}'),
        ("98.70", "It is $98.7 in all."),
        ("100", "100.00€"),
        ("C:\\data\\report.txt", "in c:/data//report.txt"),
        ("./src/main.py", "`src/main.py`"),
        ("feature/login", "the branch feature/login."),
        ("Riverside View Hotel", "the hotel 'Riverside View'"),
        ("\uff22\uff4f\uff42", "tell bob"),
        ("e\u0301mile", "Émile"),
        ("bo\u200bb", "bob"),
        ("bob", "to: bo\u00adb"),
        ("Bank of America", "the bank\\nin america"),
    ],
)
def test_a_value_is_known_in_every_way_of_writing_it(value, text):
    assert known(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("eve@evil.example", "adam@evil.example"),
        ("https://evil.example/a", "https://evil.example/b"),
        ("bob", "bobby"),
        ("98.7", "98.75"),
        ("main", "origin/main"),
    ],
)
def test_another_value_is_not_known(value, text):
    assert not known(value, text)


def test_of_a_url_the_host_is_a_word_and_of_an_address_the_domain():
    found = WORDS.of("evil.example")
    (url,), (address,) = WORDS.of_value("https://evil.example/x?d=1"), WORDS.of_value("eve@evil.example")
    assert url.host in found
    assert url.own not in found
    assert address.domain in WORDS.of("adam@evil.example")


def test_words_that_say_nothing_are_left_out_unless_there_are_no_others():
    assert len(WORDS.of_value("the Bank of America")) == 2
    assert len(WORDS.of_value("The")) == 1
    assert WORDS.of_value(" .,!") == []


def test_a_word_too_long_to_be_remembered_is_known_to_nobody():
    long = "a" * (LONGEST + 1)
    assert [word.own for word in WORDS.of_value(f"bob {long}")][1] is None
    assert WORDS.of(long) == set()


def test_hashes_depend_on_the_key():
    assert WORDS.of("bob").isdisjoint(Words(b"x" * 32).of("bob"))


def test_all_texts_of_a_result_are_looked_at_keys_and_numbers_too():
    found, more = texts(
        {"content": [{"type": "text", "text": "a"}], "n": {"bob": 13, "yes": True, "no": None}}
    )
    assert set(found) == {"content", "type", "text", "a", "n", "bob", "13", "yes", "no"}
    assert not more


def test_no_more_than_so_much_of_a_result_is_looked_at_and_that_is_said():
    found, more = texts(["x" * MOST_CHARS, "y"])
    assert more
    assert sum(map(len, found)) <= MOST_CHARS + 1


@given(st.text(max_size=200))
def test_any_text_is_read_and_its_own_words_are_found_in_it(text):
    found = WORDS.of(text)
    assert all(word.own is None or word.own in found for word in WORDS.of_value(text))


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20))
def test_case_makes_no_difference(text):
    assert known(text.upper(), text.lower())
