"""The verbs against a broker that runs."""

import json
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from broker.edges.cli.call import parsed
from broker.errors import InvalidRequest
from tests.unit.cli.conftest import BROKER, Deployment, Done


def said(done: Done) -> str:
    return done.stdout + done.stderr


def made_call(deployment: Deployment, *words: str) -> str:
    """Make a call that succeeds; its id."""
    result = deployment.json("call", *words)
    return result["_meta"]["io.toolbroker/call"]["id"]


def test_an_agent_s_secret_is_shown_once_and_works(deployment):
    added = deployment.json("agent", "add", "anna", "--role", "reader", "--team", "red", "--cap", "1.5")
    assert (added["agent"], added["roles"], added["team"], added["cap"]) == (
        "anna",
        ["reader"],
        "red",
        "1.50 USD",
    )
    who = {
        "BROKER_URL": deployment.url,
        "BROKER_CLIENT_ID": "anna",
        "BROKER_CLIENT_SECRET": added["client_secret"],
    }
    token = deployment.run("token", env=who).stdout.strip()
    assert token.count(".") == 2
    assert added["client_secret"] not in deployment.run("agent", "show", "anna", "--json").stdout


def test_a_secret_file_is_made_with_its_folder_and_not_left_behind_without_its_agent(deployment):
    words = ("agent", "add", "fay", "--role", "reader", "--secret-file", "secrets/fay")
    assert deployment.run(*words).returncode == 0
    kept = deployment.folder / "secrets" / "fay"
    assert kept.read_text().startswith("bk_")
    kept.rename(kept.with_name("elsewhere"))
    assert deployment.run(*words).returncode != 0  # there is such an agent already
    assert not kept.exists()


def test_a_secret_file_is_for_its_owner_alone_and_the_secret_is_not_printed(deployment):
    done = deployment.run("agent", "add", "ben", "--role", "reader", "--secret-file", "ben.secret")
    file = deployment.folder / "ben.secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in said(done)
    again = deployment.run("agent", "add", "ben2", "--role", "reader", "--secret-file", "ben.secret")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_adding_an_agent_twice_is_refused(deployment):
    done = deployment.run("agent", "add", "olga", "--role", "reader")
    assert done.returncode == 2
    assert "olga" in done.stderr


def test_a_role_that_no_policy_defines_is_pointed_out(deployment):
    done = deployment.run("agent", "add", "carl", "--role", "raeder")
    assert done.returncode == 0
    assert "no policy defines the role `raeder`" in done.stderr


@pytest.mark.parametrize(
    "words", [["Upper"], ["a b"], ["x" * 65], ["ok", "--cap", "much"], ["ok", "--cap", "-1"]]
)
def test_a_name_or_a_cap_that_cannot_be_is_refused(deployment, words):
    done = deployment.run("agent", "add", *words, "--role", "reader")
    assert done.returncode == 2
    assert "hint: " in done.stderr


def test_agents_are_listed_and_shown_with_what_they_have_spent(deployment):
    names = [row["agent"] for row in deployment.json("agent", "list")]
    assert {"olga", "rita"} <= set(names)
    before = deployment.json("agent", "show", "olga")["spent_micro_usd"]
    made_call(deployment, "echo__say", "text=hi", "--as", "olga")
    assert deployment.json("agent", "show", "olga")["spent_micro_usd"] == before + 1000
    assert deployment.run("agent", "show", "nobody").returncode == 5


def test_a_suspended_agent_is_refused_at_once_and_a_resumed_one_is_not(deployment):
    deployment.json("agent", "add", "sam", "--role", "reader")
    made_call(deployment, "echo__say", "text=1", "--as", "sam")
    assert deployment.json("agent", "suspend", "sam", "--reason", "odd") == {
        "agent": "sam",
        "status": "suspended",
    }
    done = deployment.run("call", "echo__say", "text=2", "--as", "sam")
    assert done.returncode == 4
    deployment.json("agent", "resume", "sam")
    made_call(deployment, "echo__say", "text=3", "--as", "sam")


def test_a_token_is_printed_bare_as_header_or_as_object(deployment):
    secret = str(deployment.secret_file("olga"))
    who = ("--url", f"{deployment.url}/mcp", "--client-id", "olga", "--secret-file", secret)
    bare = deployment.run("token", *who).stdout
    header = json.loads(deployment.run("token", "--header", *who).stdout)
    whole = deployment.json("token", *who)
    assert bare.count(".") == 2
    assert header.keys() == {"Authorization"}
    assert header["Authorization"].startswith("Bearer ey")
    assert (whole["token_type"], whole["expires_in"]) == ("Bearer", 600)


def test_a_secret_can_come_from_standard_input(deployment):
    secret = deployment.secret_file("olga").read_text()
    words = ("token", "--url", deployment.url, "--client-id", "olga", "--secret-file", "-")
    assert deployment.run(*words, given=secret).stdout.count(".") == 2


def test_a_wrong_secret_is_not_authenticated_and_not_repeated(deployment):
    who = {"BROKER_URL": deployment.url, "BROKER_CLIENT_ID": "olga", "BROKER_CLIENT_SECRET": "bk_wrong"}
    done = deployment.run("token", env=who)
    assert done.returncode == 4
    assert "bk_wrong" not in said(done)


def test_without_credentials_a_token_is_a_configuration_error(deployment):
    assert "BROKER_CLIENT_ID" in deployment.run("token").stderr
    done = deployment.run("token", "--client-id", "olga")
    assert (done.returncode, "BROKER_CLIENT_SECRET" in done.stderr) == (2, True)


def test_where_no_broker_answers_the_error_says_how_to_start_one(deployment):
    done = deployment.run("tool", "list", "--as", "olga", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "broker serve" in done.stderr


def test_tools_are_those_the_agent_sees(deployment):
    assert [tool["name"] for tool in deployment.json("tool", "list", "--as", "rita")] == [
        "all__test_simple_text",
        "echo__say",
    ]
    done = deployment.run("tool", "list", "--as", "rita")
    assert done.stdout.splitlines()[0] == "tool\tdescription"
    assert deployment.run("tool", "list", "--as", "nobody").returncode == 5


def test_a_call_prints_what_the_tool_said(deployment):
    done = deployment.run("call", "echo__say", "text=7", "times=2", "--as", "olga")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"said": "7 7"})


def test_arguments_take_the_types_of_the_schema():
    schema = {
        "properties": {
            "n": {"type": "integer"},
            "b": {"type": "boolean"},
            "s": {"type": "string"},
            "l": {"type": "array"},
        }
    }
    assert parsed(["n=3", "b=true", "s=3", 'l=["x"]', "other=a=b"], schema) == {
        "n": 3,
        "b": True,
        "s": "3",
        "l": ["x"],
        "other": "a=b",
    }
    assert parsed(['{"n": 1}'], schema) == {"n": 1}
    assert parsed([], None) == {}
    for words in (["n=three"], ["n"], ["=3"], ["{nope"]):
        with pytest.raises(InvalidRequest):
            parsed(words, schema)


def test_a_refused_call_ends_with_3_and_says_what_because_and_hint(deployment):
    done = deployment.run("call", "all__test_simple_text", "--as", "rita")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("denied: `rita` may not use `all__test_simple_text`")
    assert "no-simple-text" in done.stderr
    assert "rita has read enough" in done.stderr
    error = deployment.json("call", "all__test_simple_text", "--as", "rita", code=3)["error"]
    assert (error["code"], error["because"][0]["rule"]) == ("denied", "no-simple-text")
    assert error["call"]


def test_a_call_over_the_cap_ends_with_3(deployment):
    deployment.json("agent", "add", "cora", "--role", "reader", "--cap", "0.0015")
    made_call(deployment, "echo__say", "text=1", "--as", "cora")
    assert (
        deployment.json("call", "echo__say", "text=2", "--as", "cora", code=3)["error"]["code"]
        == "over_budget"
    )
    (row,) = [row for row in deployment.json("budget", "list") if row["scope"] == "agent:cora"]
    assert row == {
        "scope": "agent:cora",
        "window": "total",
        "unit": "micro_usd",
        "spent": 1000,
        "held": 0,
        "cap": 1500,
        "left": 500,
        "rule": "agent",
    }


def test_a_tool_that_the_agent_does_not_see_is_not_found(deployment):
    assert (
        deployment.json("call", "all__test_wait", "--as", "rita", code=5)["error"]["code"] == "unknown_target"
    )


def test_a_tool_s_own_failure_ends_with_1(deployment):
    done = deployment.run("call", "all__test_error_handling", "--as", "olga")
    assert (done.returncode, "intentionally" in done.stdout) == (1, True)


def test_calls_are_listed_newest_last_and_one_a_line(deployment):
    ids = [made_call(deployment, "echo__say", f"text={n}", "--as", "olga") for n in range(3)]
    lines = deployment.run("calls", "tail", "--last", "2", "--agent", "olga", "--json").stdout.splitlines()
    assert [json.loads(line)["call"] for line in lines] == ids[1:]
    done = deployment.run("calls", "tail", "-n", "1", "--agent", "olga")
    assert "echo__say" in done.stdout
    assert ids[2] in done.stdout


def test_following_shows_a_call_as_it_ends_and_ctrl_c_is_130(deployment):
    made_call(deployment, "echo__say", "text=old", "--as", "olga")
    command = [*BROKER, "calls", "tail", "--follow", "--last", "1", "--json"]
    with subprocess.Popen(command, cwd=deployment.folder, stdout=subprocess.PIPE, text=True) as tail:
        tail.stdout.readline()  # the last one: it is following from here on
        call = made_call(deployment, "echo__say", "text=new", "--as", "olga")
        assert json.loads(tail.stdout.readline())["call"] == call
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 130


def test_the_record_of_a_call_tells_the_whole_story(deployment):
    call = made_call(deployment, "echo__say", "text=story", "--as", "olga")
    text = deployment.run("calls", "show", call).stdout
    for part in (
        "olga",
        "tools/call echo__say",
        "permitted by operator/allow/1",
        "cost 0.001 USD",
        "ok",
        "call.intent",
    ):
        assert part in text
    records = deployment.json("calls", "show", call)
    assert [record["record"]["type"] for record in records] == ["call.intent", "call.outcome"]
    assert deployment.run("calls", "show", "no-such-call").returncode == 5


def test_the_record_of_a_refused_call_names_the_rule(deployment):
    call = deployment.json("call", "all__test_simple_text", "--as", "rita", code=3)["error"]["call"]
    text = deployment.run("calls", "show", call).stdout
    assert "refused by no-simple-text" in text
    assert "denied" in text


def test_the_log_verifies_while_the_server_runs(deployment):
    report = deployment.json("audit", "verify")
    assert (report["ok"], report["problems"]) == (True, [])
    assert {log["log"] for log in report["logs"]} >= {"system", "default"}
    assert deployment.run("audit", "verify").stdout.endswith("verified\n")


def test_a_checkpoint_that_was_not_signed_here_ends_with_6(deployment):
    note = deployment.folder / "forged.txt"
    note.write_text("broker.local/audit/default\n1\nAAAA\n\n— x AAAA\n", encoding="utf-8")
    report = deployment.json("audit", "verify", "--checkpoint", str(note), code=6)
    assert report["ok"] is False


def test_policies_are_checked_with_file_and_line(deployment, tmp_path):
    checked = deployment.json("policy", "check")
    assert checked["roles"] == ["operator", "reader"]
    (tmp_path / "policies" / "roles").mkdir(parents=True)
    (tmp_path / "policies" / "roles" / "r.yaml").write_text("role: r\nalow: []\n")
    (tmp_path / "broker.toml").write_text('policies_dir = "policies"\n')
    done = deployment.run("policy", "check", "--config", str(tmp_path / "broker.toml"))
    assert done.returncode == 2
    assert "policies/roles/r.yaml:2: unknown key `alow`" in done.stderr


def test_connectors_are_tried_beside_the_running_server(deployment):
    rows = {row["connector"]: row for row in deployment.json("connector", "check")}
    assert (rows["echo"]["state"], rows["echo"]["tools"]) == ("ok", 1)
    assert rows["all"]["tools"] > 10
    assert not list(deployment.folder.glob(".broker-check-*"))


def test_a_connector_that_fails_is_named_with_its_problem(deployment, tmp_path):
    text = '[connectors.gone]\nuse = "mcp"\nsettings.command = ["/no/such/program"]\n[connectors.echo]\nuse = "echo"\n'
    (tmp_path / "broker.toml").write_text(text)
    rows = deployment.json("connector", "check", "--config", str(tmp_path / "broker.toml"), code=1)
    states = {row["connector"]: row["state"] for row in rows}
    assert states == {"gone": "failed", "echo": "ok"}


def test_installed_connectors_are_listed_apart_from_enabled_ones(deployment):
    rows = deployment.json("connector", "list")
    assert {(row["connector"], row["use"]) for row in rows} >= {("echo", "echo"), ("all", "mcp")}


def test_a_new_deployment_can_be_checked_and_served_as_it_is_written(deployment, tmp_path):
    folder = tmp_path / "new"
    done = deployment.run("init", str(folder))
    assert done.returncode == 0
    config = str(folder / "broker.toml")
    assert deployment.json("policy", "check", "--config", config)["folder"] == str(folder / "policies")
    findings = deployment.json("doctor", "--config", config)
    assert {finding["state"] for finding in findings} <= {"ok", "warning"}
    again = deployment.run("init", str(folder))
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_the_doctor_names_what_is_wrong(deployment, tmp_path):
    text = '[connectors.git]\nuse = "mcp"\nsettings.command = ["mcp-server-nowhere"]\n[connectors.x]\nuse = "nothing"\n'
    (tmp_path / "broker.toml").write_text(text)
    state = tmp_path / ".broker"
    state.mkdir(mode=0o755)
    findings = deployment.json("doctor", "--config", str(tmp_path / "broker.toml"), code=1)
    failed = {finding["check"]: finding for finding in findings if finding["state"] == "failed"}
    assert failed.keys() == {"connector git", "connector x", "state"}
    assert failed["state"]["hint"] == f"chmod -R go-rwx {state}"


def test_the_doctor_finds_the_running_broker_on_its_port(deployment):
    findings = {finding["check"]: finding for finding in deployment.json("doctor")}
    assert findings["port"]["state"] == "warning"
    assert findings["state"]["state"] == "ok"


def test_the_configuration_in_force_is_shown_with_origins(deployment):
    rows = {row["setting"]: row for row in deployment.json("config", "show")}
    assert rows["server.port"]["value"] == int(deployment.url.rpartition(":")[2])
    assert rows["server.port"]["from"].startswith("broker.toml:")
    assert rows["server.host"] == {"setting": "server.host", "value": "127.0.0.1", "from": "default"}


def test_the_schema_describes_the_file(deployment):
    schema = json.loads(deployment.run("config", "schema").stdout)
    assert schema["properties"].keys() >= {"server", "tokens", "limits", "connectors"}


def test_verbs_on_the_state_say_so_where_there_is_none(deployment, tmp_path):
    done = subprocess.run(
        [*BROKER, "agent", "list"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "there is no broker state" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_taken_port_is_an_error_and_not_a_second_broker(deployment, tmp_path):
    port = deployment.url.rpartition(":")[2]
    done = subprocess.run(
        [*BROKER, "serve", "--port", port],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_in_order_when_asked_to(tmp_path, sign):
    (tmp_path / "broker.toml").write_text('[connectors.echo]\nuse = "echo"\n')
    command = [*BROKER, "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as serving:
        assert json.loads(serving.stdout.readline())["mcp"].startswith("http://127.0.0.1:")
        serving.send_signal(sign)
        assert serving.wait(15) == 0
        assert "Traceback" not in serving.stderr.read()
    assert stat.S_IMODE((tmp_path / ".broker").stat().st_mode) == 0o700


def test_the_demo_tells_its_whole_story_and_leaves_nothing_behind(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*BROKER, "demo", "--exit"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    story = done.stdout
    assert "denied: `researcher` may not use `git__git_commit`" in story
    assert "66 % of tool:echo__say is used" in story
    assert "88 % of tool:echo__say is used, so it waited 1296 ms" in story
    assert "over budget: tool `echo__say` has spent 0.008 and holds 0.00 of 0.009 USD" in story
    assert "0.000175 USD: 5 tokens read and 17 written" in story
    assert "to 244 tokens, for the budget holds no more" in story
    assert "then a valid end; cost 0.002445 USD" in story
    assert "verified" in story
    assert "AWS_ACCESS_KEY_ID=[" in story
    assert "redact" in story
    lines = story.splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 100
    assert list(tmp_path.iterdir()) == []
    assert Path(tmp_path).exists()
