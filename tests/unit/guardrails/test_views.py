"""What is written so that a pattern does not see it is read all the same, and acted on where it stands."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.guardrails.views import views_of
from tests.unit.guardrails import samples
from tests.unit.guardrails.kit import message, screen

SECRET = samples.STRIPE


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(c)) for c in text)


def _selectors(text: str) -> str:
    return "".join(chr(0xFE00 + b) if b < 16 else chr(0xE0100 + b - 16) for b in text.encode())


DISGUISES = {
    "base64": _b64(f"the key is {SECRET}, keep it"),
    "base64/base64": _b64(_b64(SECRET)),
    "hex": f"the key is {SECRET}".encode().hex(),
    "percent": "".join(f"%{ord(c):02x}" for c in SECRET),
    "escapes": "".join(f"\\u{ord(c):04x}" for c in SECRET),
    "entities": "".join(f"&#{ord(c)};" for c in SECRET),
    "zero-width": SECRET[:9] + "\u200b" + SECRET[9:15] + "\u2060" + SECRET[15:],
    "soft hyphen": SECRET[:9] + "\u00ad" + SECRET[9:],
    "fullwidth": "".join(chr(ord(c) + 0xFEE0) for c in SECRET),
    "cyrillic": SECRET.replace("e", "\u0435").replace("_", "_", 1),
    "tags": _tags(SECRET),
    "selectors": _selectors(f"key {SECRET}"),
    "reversed": "\u202e" + SECRET[::-1],
}


@pytest.mark.parametrize("written", DISGUISES.values(), ids=DISGUISES)
def test_a_secret_in_disguise_does_not_get_through(written: str):
    safe, findings = screen({"content": [{"type": "text", "text": f"here: {written} ."}]})
    text = safe["content"][0]["text"]
    assert findings
    assert written not in text
    assert text.startswith(("here: [redacted:", "[redacted:"))
    assert SECRET not in text


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("caf\u00e9 na\u00efve stra\u00dfe", None),
        ("plain words, 100 % of them & nothing; more", None),
        ("\ufb01nd the \uff52\uff55\uff4e", "find the run"),
        ("\u0440\u0430\u0443\u0440\u0430l", "paypal"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", None),
        ("a\u200bb", "ab"),
        (r"a\nb\u0041", "a\nbA"),
        (r"\ud83d", "\ufffd"),
        ("%41%c3%a9%ff", "A\u00e9\ufffd"),
        ("&lt;b&gt; &zzz; &amp", "<b> &zzz; &amp"),
        (_b64("hello, you there in the dark"), "hello, you there in the dark"),
        ("f47ac10b58cc4372a5670e02b2c3d479aabbccdd", None),
    ],
)
def test_a_text_is_read_as_a_reader_would(text: str, reading: str | None):
    found = [passage.value for view in views_of(message(text), depth=1) for passage in view.message.passages]
    assert found == ([] if reading is None else [reading])


@given(
    st.lists(
        st.text(max_size=30)
        | st.sampled_from([*DISGUISES.values(), "%20", "\\n", "&amp;", "\u0430", "\u200d"]),
        max_size=5,
    )
)
def test_every_place_in_a_view_leads_back_into_the_text_it_was_made_from(texts: list[str]):
    original = message(*texts)
    for view in views_of(original):
        for passage, at in zip(view.message.passages, view.message.starts, strict=True):
            if not passage.value:
                continue
            start, end = view.origin(at, at + len(passage.value))
            number = original.number_at(start)
            first, last = original.bounds(number)
            assert first <= start < end <= last
            middle = len(passage.value) // 2
            one, two = view.origin(at, at + middle), view.origin(at + middle, at + len(passage.value))
            assert one[0] <= two[1]
            assert view.via(at)


def test_web_tokens_are_found_as_what_they_are_and_not_taken_apart():
    assert list(views_of(message(samples.JWT))) == []


def test_what_is_passed_on_is_never_the_normalised_text():
    content = {
        "t": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \ufb01n "
        + quote("\u00e9")
    }
    safe, findings = screen(content)
    assert safe is content
    assert findings == []
