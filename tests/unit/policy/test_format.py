"""One layout for policy files: what they say and every comment stay."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.policy.format import formatted
from broker.policy.load import shipped_policies
from tests.docs.pages import ROOT

MESSY = """\
# who reads

role:   clerk   # the front desk
allow:
- tools: [ time__*,   "kb__*" ]
  # reading only
  side_effects:   [reads]     # never more
- tools:
        - 'a__get'      # one
        - b__get
        # c__get is not ready
  # - tools: [d__get]


- { tools: [e__get], # by itself
    side_effects: [reads] }
may_delegate_to:    [summariser]
# the end
"""

TIDY = """\
# who reads

role: clerk  # the front desk
allow:
  - tools: [time__*, "kb__*"]
    # reading only
    side_effects: [reads]  # never more
  - tools:
      - 'a__get'  # one
      - b__get
      # c__get is not ready
  # - tools: [d__get]

  - tools: [e__get]  # by itself
    side_effects: [reads]
may_delegate_to: [summariser]
# the end
"""


def test_a_role_is_laid_out_and_every_comment_stays_with_what_it_is_about():
    assert formatted(MESSY, "x.yaml") == TIDY
    assert formatted(TIDY, "x.yaml") == TIDY


def test_a_list_that_does_not_fit_on_a_line_gets_a_line_for_each_item():
    names = [f"connector__tool_number_{n}" for n in range(6)]
    laid = formatted(f"role: r\nallow:\n  - tools: [{', '.join(names)}]\n", "x.yaml")
    assert laid == "role: r\nallow:\n  - tools:\n" + "".join(f"      - {name}\n" for name in names)


def test_a_text_of_several_lines_keeps_its_shape():
    text = "a:\n    b: |\n         one\n           two\n\n         three\n\n    # note\n    c: >-\n     x\n     y\n"
    laid = formatted(text, "x.yaml")
    assert laid == "a:\n  b: |\n    one\n      two\n\n    three\n\n  # note\n  c: >-\n    x\n    y\n"
    assert yaml.safe_load(laid) == yaml.safe_load(text)


def test_a_rule_is_laid_out_as_cedar_does_and_comments_stay():
    text = '// why\n@id("x") @reason("y; // no comment") forbid(principal,action,resource) // open\nwhen {context.depth>0};\n// end\n'
    laid = formatted(text, "x.cedar")
    assert laid == (
        '// why\n@id("x")\n@reason("y; // no comment")\nforbid (principal, action, resource) // open\n'
        "when { context.depth > 0 };\n// end\n"
    )
    assert formatted(laid, "x.cedar") == laid


def test_what_a_cedar_file_says_of_itself_stays_apart_from_its_first_rule():
    text = '// about all\n// of it\n\n\n// about x\n@id("x")\nforbid (principal, action, resource);\n'
    assert formatted(text, "x.cedar") == text.replace("\n\n\n", "\n\n")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n"])
def test_a_yaml_file_that_says_nothing_is_left_alone(text):
    assert formatted(text, "x.yaml") == text


@pytest.mark.parametrize("text", ["", "// only a comment\n"])
def test_a_cedar_file_that_says_nothing_is_left_alone(text):
    assert formatted(text, "x.cedar") == text


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("a: [\n", "x.yaml", r"x\.yaml:2: not YAML"),
        ("a: &x 1\nb: *x\n", "x.yaml", r"x\.yaml:1: anchors"),
        ("---\na: 1\n", "x.yaml", r"x\.yaml:1: anchors, tags and document marks"),
        ("a: !!str 1\n", "x.yaml", r"x\.yaml:1: anchors"),
        ('a: "x\n\n  y"\n', "x.yaml", r"x\.yaml:1: cannot be laid out without changing it"),
        ("forbid (principal", "x.cedar", r"x\.cedar:1: not Cedar"),
    ],
)
def test_what_cannot_be_laid_out_safely_is_refused_and_not_changed(text, name, message):
    with pytest.raises(ConfigurationError, match=message):
        formatted(text, name)


_WORDS = st.text("abz09*_", min_size=1, max_size=6).map(lambda word: f'"{word}"')
_VALUES = st.recursive(
    _WORDS | st.sampled_from(["7", "true", "''", "null", "'it''s'"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcd", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


def _written(value: object, indent: int, draw: st.DrawFn) -> list[str]:
    """A value as somebody without a formatter might write it: any indent, flow or block, comments anywhere."""
    pad = " " * indent
    note = draw(st.sampled_from(["", "", "   # note", " # a: b"]))
    above = [pad + draw(st.sampled_from(["# above", "#", ""]))] if draw(st.booleans()) else []
    if isinstance(value, str):
        return [*above, pad + value + note]
    if not value:
        return [*above, pad + ("{ }" if isinstance(value, dict) else "[]") + note]
    step = draw(st.integers(1, 4))
    pairs = (
        [(f"{key}:", item) for key, item in value.items()]
        if isinstance(value, dict)
        else [("-", i) for i in value]
    )
    lines = above
    for head, item in pairs:
        if isinstance(item, str):
            lines = [*lines, f"{pad}{head}  {item}{note}"]
        else:
            lines = [*lines, f"{pad}{head}{note}", *_written(item, indent + step, draw)]
    return lines


@st.composite
def documents(draw: st.DrawFn) -> str:
    value = draw(st.dictionaries(st.text("abcd", min_size=1), _VALUES, min_size=1, max_size=4))
    return "\n".join(_written(value, 0, draw)) + "\n"


def _comments(text: str) -> list[str]:
    return sorted(found.rstrip() for found in re.findall(r"(?:^|\s)(#.*)$", text, re.MULTILINE))


@given(documents())
def test_whatever_is_laid_out_says_the_same_keeps_its_comments_and_is_laid_out_for_good(text):
    laid = formatted(text, "x.yaml")
    assert yaml.safe_load(laid) == yaml.safe_load(text)
    assert _comments(laid) == _comments(text)
    assert formatted(laid, "x.yaml") == laid


def test_the_policies_that_are_shipped_and_shown_are_laid_out():
    folders = [shipped_policies(), *(ROOT / "examples").glob("*/policies")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".yaml", ".cedar"}]
    assert len(files) > 10
    assert [str(p) for p in files if formatted(p.read_text(), p.name) != p.read_text()] == []
