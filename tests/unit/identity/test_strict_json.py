import pytest

from broker.identity import strict_json


def test_an_object_is_read_as_it_is():
    assert strict_json.loads(b'{"a": {"b": [1, "x", null]}}') == {"a": {"b": [1, "x", None]}}


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b"[]",
        b'"text"',
        b"",
        b'{"a": 1} x',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all_is_refused(text):
    with pytest.raises(ValueError):
        strict_json.loads(text)
