"""What `*` means, and what it does not."""

import re

from hypothesis import given
from hypothesis import strategies as st

from broker.patterns import matches

FEW = st.text(alphabet="ab*.[?", max_size=12)


@given(glob=FEW, name=st.text(alphabet="ab.[?\n", max_size=12))
def test_a_star_stands_for_any_text_and_everything_else_for_itself(glob: str, name: str):
    reference = re.compile(".*".join(re.escape(part) for part in glob.split("*")), re.DOTALL)
    assert matches(glob, name) is bool(reference.fullmatch(name))


def test_case_matters():
    assert not matches("Git__*", "git__log")


def test_prefix_and_suffix_do_not_share_characters():
    assert not matches("ab*ba", "aba")
    assert matches("ab*ba", "abba")


def test_many_stars_on_a_long_name_take_linear_time():
    assert not matches("*a" * 200 + "*b", "a" * 100_000)
