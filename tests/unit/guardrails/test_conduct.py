"""The operator's file: closed, and every mistake has a line."""

import pytest
from broker.guardrails.formats import SecretKind

from broker.errors import ConfigurationError
from broker.guardrails.conduct import load_conduct
from broker.guardrails.interface import Action, Stage
from broker.policy.load import shipped_policies

TYPES = {
    "private-key": SecretKind.KEY,
    "github-token": SecretKind.TOKEN,
    "jwt": SecretKind.SESSION,
    "x": SecretKind.ASSIGNED,
}
GOOD = (shipped_policies() / "guardrails" / "secrets.yaml").read_text()


@pytest.fixture
def load(tmp_path):
    def load(text: str):
        (tmp_path / "guardrails").mkdir(exist_ok=True)
        (tmp_path / "guardrails" / "secrets.yaml").write_text(text)
        return load_conduct(tmp_path, TYPES)

    return load


def test_a_folder_without_the_file_gets_what_the_shipped_file_says(load, tmp_path):
    assert load_conduct(tmp_path, TYPES) == load(GOOD)
    assert load(GOOD)[Stage.ARGUMENTS] == {
        "private-key": Action.BLOCK,
        "github-token": Action.BLOCK,
        "jwt": Action.FLAG,
        "x": Action.FLAG,
    }
    assert set(load(GOOD)[Stage.RESULT].values()) == {Action.REDACT, Action.FLAG}


def test_in_shadow_everything_is_only_flagged(load):
    actions = load(GOOD.replace("mode: enforce", "mode: shadow"))
    assert {a for stage in actions.values() for a in stage.values()} == {Action.FLAG}


def test_an_ignored_type_is_not_looked_for(load):
    actions = load(GOOD.replace("ignore: []", "ignore: [jwt]"))
    assert "jwt" not in actions[Stage.RESULT]
    assert "jwt" not in actions[Stage.ARGUMENTS]


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("mode: enforce", "mode: shaddow", "`shaddow` is not one of", "did you mean `shadow`?"),
        ("mode: enforce", "mod: enforce", "unknown key `mod`", "did you mean `mode`?"),
        ("  token: block", "  token: blok", "`blok` is not one of", "did you mean `block`?"),
        ("  token: block", "  tokens: block", "unknown key `tokens`", "did you mean `token`?"),
        (
            "ignore: []",
            "ignore: [github-tokn]",
            "`github-tokn` is not one of",
            "did you mean `github-token`?",
        ),
        ("ignore: []", "ignore: jwt", "a text where a list belongs", "write"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(load, old, new, message, hint):
    text = GOOD.replace(old, new, 1)
    line = text[: text.index(new)].count("\n") + 1
    with pytest.raises(ConfigurationError) as error:
        load(text)
    assert error.value.message.partition("/")[2].startswith(f"guardrails/secrets.yaml:{line}: {message}")
    assert hint in (error.value.hint or "")


def test_a_kind_that_is_left_out_is_an_error_and_not_a_default(load):
    with pytest.raises(ConfigurationError, match="`key` is missing"):
        load(GOOD.replace("  key: block\n", ""))
