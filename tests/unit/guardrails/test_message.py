"""All texts are read as one, and nothing is found that none of them holds by itself."""

import re

from hypothesis import given
from hypothesis import strategies as st

from broker.guardrails.message import SEAM, Message, Passage
from broker.guardrails.registry import GUARDS
from broker.guardrails.scene import Stage
from tests.unit.guardrails import samples
from tests.unit.guardrails.kit import SCENE, look, message

PIECES = st.sampled_from(
    [
        *samples.TOKENS.values(), samples.JWT, samples.PASSWORD, "password", ": ", "4111 1111", " 1111 1111", "DE89 3704 0044",
        " 0532 0130 00", "anna@", "firma.de", "https://x.test/?d=", "![", "](", "-----BEGIN PRIVATE KEY-----", "\u200b", "%40",
    ]
)  # fmt: skip
TEXTS = st.lists(st.lists(PIECES | st.text(max_size=4), max_size=5).map("".join), min_size=1, max_size=5)


@given(texts=TEXTS)
def test_what_is_found_in_many_texts_is_what_is_found_in_each(texts: list[str]):
    for name in GUARDS.keys() - {"classifier", "guardrails-ai", "topics"}:  # reviewers, which need extras
        detector = GUARDS[name](None)
        together, at = set(), 0
        for span in look(detector, *texts):
            together.add((span.start, span.end, span.type))
        apart: set[tuple[int, int, str]] = set()
        for text in texts:
            apart |= {(s.start + at, s.end + at, s.type) for s in look(detector, text)}
            at += len(text) + len(SEAM)
        assert together == apart, detector.name


@given(texts=st.lists(st.text(alphabet="ab \n-\x01", max_size=8), min_size=1, max_size=5))
def test_no_match_reaches_across_a_seam(texts: list[str]):
    joined = message(*texts)
    for pattern in (r"[^b]+", r"a.*", r"\S+ ?", r"\s*a", r"(?s)a.*b", r"b?"):
        for found in joined.matches(re.compile(pattern)):
            start, end = joined.bounds(joined.number_at(found.start()))
            assert found.start() == found.end() or start <= found.start() <= found.end() <= end


def test_lower_case_keeps_every_offset():
    joined = Message([Passage("\u0130STANBUL \u1e9e \u03a3"), Passage("ABC")], Stage.RESULT, SCENE)
    assert len(joined.lower) == len(joined.text)
    assert joined.lower.endswith("abc")


def test_a_passage_knows_the_way_to_it():
    nested = Passage("x", "k", ((None, "a"), 0), "k")
    assert nested.path == ("a", 0, "k")
    assert Passage("x", "", None, "top").path == ("top",)
