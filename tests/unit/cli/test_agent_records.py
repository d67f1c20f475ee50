"""What an operator changes about an agent, and what remains of it."""

import pytest


def shown(deployment, name):
    return deployment.json("agent", "show", name)


def test_what_is_set_is_shown_and_nothing_else_is_changed(deployment):
    deployment.json("agent", "add", "set-1", "--role", "reader", "--team", "red", "--purpose", "reads")
    done = deployment.json(
        "agent", "set", "set-1", "--role", "operator", "--model", "m", "--model-version", "3", "--cap", "2"
    )
    assert done == {"agent": "set-1", "changed": True}
    agent = shown(deployment, "set-1")
    assert (agent["roles"], agent["model"], agent["model_version"], agent["cap"]) == (
        ["operator"],
        "m",
        "3",
        "2.00 USD",
    )
    assert (agent["team"], agent["purpose"], agent["organisation"]) == ("red", "reads", "default")
    assert agent["changed"] is not None
    assert agent["last_seen"] is None


def test_an_empty_text_takes_away_what_was_set(deployment):
    deployment.json("agent", "add", "set-2", "--role", "reader", "--team", "red", "--cap", "1")
    deployment.json("agent", "set", "set-2", "--team", "", "--cap", "")
    agent = shown(deployment, "set-2")
    assert (agent["team"], agent["cap"]) == (None, None)


def test_attributes_are_added_and_removed_one_by_one(deployment):
    deployment.json("agent", "add", "set-3", "--role", "reader")
    deployment.json("agent", "set", "set-3", "--attribute", "stage=test", "--attribute", "region=eu=1")
    assert shown(deployment, "set-3")["attributes"] == {"stage": "test", "region": "eu=1"}
    deployment.json("agent", "set", "set-3", "--attribute", "stage=")
    assert shown(deployment, "set-3")["attributes"] == {"region": "eu=1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing is to be changed"),
        (["--attribute", "stage"], "`stage` is no attribute"),
        (["--attribute", "größe=1"], "is no attribute"),
        (["--cap", "much"], "`much` is not an amount"),
        (["--model", "x" * 257], "257 characters"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(deployment, words, said):
    before = shown(deployment, "olga")
    done = deployment.run("agent", "set", "olga", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert shown(deployment, "olga")["changed"] == before["changed"]


def test_setting_what_is_so_already_leaves_no_record(deployment):
    deployment.json("agent", "add", "set-4", "--role", "reader")
    assert not deployment.json("agent", "set", "set-4", "--role", "reader")["changed"]
    assert len(deployment.json("agent", "history", "set-4")) == 1


def test_the_history_tells_who_changed_what_and_why(deployment):
    deployment.json("agent", "add", "set-5", "--role", "reader")
    deployment.json("agent", "set", "set-5", "--role", "operator", "--reason", "promoted")
    deployment.json("agent", "suspend", "set-5", "--reason", "odd calls")
    created, changed, suspended = deployment.json("agent", "history", "set-5")
    assert created["type"] == "agent.created"
    assert created["profile"]["roles"] == ["reader"]
    assert (changed["before"], changed["after"]) == ({"roles": ["reader"]}, {"roles": ["operator"]})
    assert (changed["reason"], suspended["after"]["status"]) == ("promoted", "suspended")
    assert created["by"]
    text = deployment.run("agent", "history", "set-5").stdout
    assert "roles reader → operator, (promoted)" in text
    assert "status active → suspended, (odd calls)" in text


def test_a_revoked_agent_is_refused_and_never_comes_back(deployment):
    deployment.json("agent", "add", "set-6", "--role", "reader", "--secret-file", "set-6.secret")
    words = ["token", "--url", deployment.url, "--client-id", "set-6", "--secret-file", "set-6.secret"]
    assert deployment.run(*words).returncode == 0
    deployment.json("agent", "revoke", "set-6", "--reason", "leaked")
    assert deployment.run(*words).returncode == 4
    done = deployment.run("agent", "resume", "set-6")
    assert done.returncode == 2
    assert "revoked for good" in done.stderr
    assert deployment.run("agent", "add", "set-6", "--role", "reader").returncode == 2


def test_an_agent_that_has_called_was_seen(deployment):
    assert deployment.run("call", "echo__say", "text=hi", "--as", "olga").returncode == 0
    assert shown(deployment, "olga")["last_seen"] is not None


def test_the_records_of_nobody_are_not_found(deployment):
    assert deployment.run("agent", "history", "nobody").returncode == 5
    assert deployment.run("agent", "set", "nobody", "--team", "red").returncode == 5
    assert deployment.run("agent", "revoke", "nobody").returncode == 5
