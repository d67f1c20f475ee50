"""What an operator is shown of a transaction, and takes from it."""


def transaction_of_a_call(deployment) -> tuple[str, str]:
    made = deployment.json("call", "echo__say", "text=hello", "--as", "olga")
    call = made["_meta"]["io.toolbroker/call"]["id"]
    (intent, _) = deployment.json("calls", "show", call)
    return intent["record"]["cause"]["task"], call


def test_what_a_transaction_has_read_is_shown_and_can_be_taken_away_for_a_reason(deployment):
    transaction, _ = transaction_of_a_call(deployment)
    shown = deployment.json("transaction", "show", transaction)
    assert shown["taint"] == ["untrusted-source"]
    assert (shown["counters"]["calls"], shown["counters"]["writes"]) == (1, 0)
    words = ("transaction", "declassify", transaction, "untrusted-source", "pii", "--reason", "an echo")
    assert deployment.json(*words)["labels"] == ["untrusted-source"]
    assert deployment.json(*words)["labels"] == []
    assert "nothing" in deployment.run("transaction", "show", transaction).stdout


def test_a_reason_has_to_be_given(deployment):
    done = deployment.run("transaction", "declassify", "x", "pii")
    assert done.returncode == 2
    assert "--reason" in done.stderr


def test_of_a_transaction_that_there_is_not_it_is_said_where_to_find_one(deployment):
    for words in (("show", "nothing"), ("declassify", "nothing", "pii", "--reason", "x")):
        done = deployment.run("transaction", *words)
        assert done.returncode == 5
        assert "there is no transaction `nothing`" in done.stderr


def test_a_call_shows_what_it_was_judged_on(deployment):
    transaction, call = transaction_of_a_call(deployment)
    shown = deployment.run("calls", "show", call).stdout
    assert transaction in shown
    (intent, _) = deployment.json("calls", "show", call)
    assert intent["record"]["decision"]["situation"]["counters"]["calls"] == 1
