"""The operator's files: closed, every mistake has a line, and nothing is left open."""

import pytest

from broker.errors import ConfigurationError
from broker.guardrails.conduct import Conduct, load_conduct
from broker.guardrails.interface import Action
from broker.guardrails.registry import GUARDS
from broker.guardrails.scene import Scene, Stage
from broker.model import Kind, Target
from broker.policy.load import shipped_policies

SHIPPED = shipped_policies()
GOOD = (SHIPPED / "guardrails" / "secrets.yaml").read_text()


@pytest.fixture
def load(tmp_path):
    def load(text: str, name: str = "secrets.yaml") -> Conduct:
        (tmp_path / "guardrails").mkdir(exist_ok=True)
        (tmp_path / "guardrails" / name).write_text(text)
        return load_conduct(tmp_path, SHIPPED, GUARDS)

    return load


def scene(name: str = "notes__find", labels: tuple[str, ...] = (), roles: tuple[str, ...] = ()) -> Scene:
    return Scene(
        Target(Kind.TOOL, name, "notes", "find", {}, labels=frozenset(labels)), roles=frozenset(roles)
    )


def ruling(conduct: Conduct, kind: str, stage: Stage, where: Scene | None = None):
    number = [guard.detector.name for guard in conduct.guards].index("secrets")
    return conduct.rulings(stage, where or scene())[number].get(kind)


def test_a_folder_that_says_nothing_of_a_guard_gets_what_the_shipped_file_says(load, tmp_path):
    (tmp_path / "roles").mkdir()
    conduct = load_conduct(tmp_path, SHIPPED, GUARDS)
    assert [g.name for g in conduct.guards] == [g.name for g in load(GOOD).guards]
    assert ruling(conduct, "private-key", Stage.ARGUMENTS).action is Action.BLOCK
    assert ruling(conduct, "github-token", Stage.RESULT).action is Action.REDACT
    assert ruling(conduct, "jwt", Stage.RESULT).action is Action.FLAG


def test_in_shadow_everything_is_only_flagged_and_it_is_said_what_would_be_done(load):
    conduct = load(GOOD.replace("mode: enforce", "mode: shadow"))
    shadow = ruling(conduct, "private-key", Stage.ARGUMENTS)
    assert (shadow.action, shadow.would) == (Action.FLAG, Action.BLOCK)
    assert ruling(conduct, "jwt", Stage.RESULT).would is None


def test_an_ignored_type_is_not_looked_for(load):
    conduct = load(GOOD.replace("ignore: []", "ignore: [jwt]"))
    assert ruling(conduct, "jwt", Stage.RESULT) is None
    assert ruling(conduct, "jwt", Stage.ARGUMENTS) is None


def test_the_first_rule_that_holds_decides_and_a_type_says_more_than_its_group(load):
    special = """rules:
  - {tools: ["vault__*"], do: {jwt: block, token: allow}}
  - {labels: [private-data], stages: [result], do: {session: redact}}
  - {roles: [auditor], direction: in, mode: shadow, do: {"*": block}}
"""
    conduct = load(GOOD.replace(GOOD[GOOD.index("rules:") : GOOD.index("  - direction: out")], special))
    assert ruling(conduct, "jwt", Stage.RESULT, scene("vault__read")).action is Action.BLOCK
    assert ruling(conduct, "github-token", Stage.ARGUMENTS, scene("vault__read")) is None
    assert ruling(conduct, "jwt", Stage.RESULT, scene(labels=("private-data", "pii"))).action is Action.REDACT
    assert ruling(conduct, "jwt", Stage.RESULT, scene(roles=("auditor",))).would is Action.BLOCK
    assert ruling(conduct, "jwt", Stage.ARGUMENTS, scene(roles=("auditor",))).would is None
    assert ruling(conduct, "jwt", Stage.RESULT).action is Action.FLAG


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("mode: enforce", "mode: shaddow", "`shaddow` is not one of", "did you mean `shadow`?"),
        ("mode: enforce", "mod: enforce", "unknown key `mod`", "did you mean `mode`?"),
        ("token: block", "token: blok", "`blok` is not one of", "did you mean `block`?"),
        ("token: block", "tokn: block", "`tokn` is not one of", "did you mean `token`?"),
        (
            "ignore: []",
            "ignore: [github-tokn]",
            "`github-tokn` is not one of",
            "did you mean `github-token`?",
        ),
        ("ignore: []", "ignore: jwt", "a text where a list belongs", "write"),
        ("direction: out", "direction: away", "`away` is not one of", "possible"),
        ("direction: out", "stages: [argument]", "`argument` is not one of", "did you mean `arguments`?"),
        ("guard: secrets", "guard: secret", "`secret` is not one of", "did you mean `secrets`?"),
        ("unread: block", "unread: redact", "`redact` is not one of", "possible"),
        ("key: redact", "key: approve", "only arguments and prompts can wait", "direction: out"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(load, old, new, message, hint):
    text = GOOD.replace(old, new, 1)
    line = text[: text.index(new)].count("\n") + 1
    with pytest.raises(ConfigurationError) as error:
        load(text)
    assert error.value.message.partition("/")[2].startswith(f"guardrails/secrets.yaml:{line}: {message}")
    assert hint in (error.value.hint or "")


def test_a_group_that_is_left_out_is_an_error_and_not_a_default(load):
    with pytest.raises(
        ConfigurationError, match="no rule says what is done about `key` in `result` in general"
    ):
        load(GOOD.replace("{key: redact, ", "{"))


def test_a_guard_is_configured_once_and_in_yaml(load):
    load(GOOD)
    with pytest.raises(
        ConfigurationError, match=r"zz-more.yaml:\d+: guard `secrets` is configured in .*secrets.yaml"
    ):
        load(GOOD, "zz-more.yaml")


def test_a_file_that_would_be_left_out_without_a_word_is_an_error(load):
    with pytest.raises(ConfigurationError, match=r"is no `\.yaml` file"):
        load(GOOD, "secrets.yml")
