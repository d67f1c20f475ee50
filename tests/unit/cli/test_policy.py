"""`broker policy`: what it prints and how it ends, with a broker that has run and without one."""

import json

import pytest

ROLE = "role: clerk\nallow:\n  - tools: [echo__say]\n"


@pytest.fixture
def folder(tmp_path):
    """A policies folder of its own, which --policies names."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / "policies" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / "policies")

    return write


def test_check_knows_what_a_broker_last_offered_and_who_is_enrolled(deployment):
    found = deployment.json("policy", "check")
    assert found["ok"]
    assert found["roles"] == ["operator", "reader"]
    assert found["catalogue"]["targets"] > 2
    assert found["agents"] >= 2
    warnings = [remark for remark in found["remarks"] if remark["level"] == "warning"]
    assert [w for w in warnings if not w["place"].startswith("agent ")] == []  # other tests enrol agents too


def test_check_names_every_file_with_a_mistake_and_what_was_meant(deployment, folder):
    files = {
        "roles/a.yaml": "role: a\nallow:\n  - tols: [x]\n",
        "roles/b.yaml": "role: 7\nallow: []\n",
        "roles/c.yaml": ROLE,
        "rules/x.cedar": '@id("x") @reason("r")\nforbid (principal, action, resource) when { resource.prise > 1 };\n@id("y") forbid (principal, action, resource);\n',
    }
    done = deployment.run("policy", "check", "--policies", folder(files))
    assert done.returncode == 2
    assert done.stderr == (
        "configuration: policies/roles/a.yaml:3: unknown key `tols`\n"
        "hint: did you mean `tools`?\n"
        "configuration: policies/roles/b.yaml:1: `7` (int) where a text belongs\n"
        "hint: put a text in quotes\n"
        "configuration: policies/rules/x.cedar:2: attribute `prise` on entity type `Tool` not found\n"
        "hint: did you mean `price`?\n"
        "configuration: policies/rules/x.cedar:3: the rule has no @reason\n"
        'hint: begin it with `@id("name") @reason("why, in words an agent can use")`\n'
        "4 mistakes; nothing of this folder would be put in force\n"
    )
    found = deployment.json("policy", "check", "--policies", folder({}), code=2)
    assert (found["ok"], len(found["mistakes"])) == (False, 4)


def test_check_warns_of_a_tool_that_does_not_exist_and_fails_for_it_only_if_it_is_strict(deployment, folder):
    where = folder({"roles/clerk.yaml": ROLE.replace("echo__say", "ecko__say")})
    done = deployment.run("policy", "check", "--policies", where)
    assert done.returncode == 0
    assert "policies/roles/clerk.yaml:3: warning: `ecko__say` matches nothing that is offered" in done.stdout
    assert "hint: did you mean `echo__say`?" in done.stdout
    assert deployment.run("policy", "check", "--policies", where, "--strict").returncode == 1


def test_check_says_so_where_nothing_is_known_of_tools_and_agents(deployment, tmp_path, folder):
    (tmp_path / "broker.toml").write_text("")
    words = ["--policies", folder({"roles/c.yaml": ROLE}), "--config", str(tmp_path / "broker.toml")]
    done = deployment.run("policy", "check", *words)
    assert done.returncode == 0
    assert "catalogue  none: no broker has run on this state" in done.stdout
    assert "agents     none known" in done.stdout


def test_a_policies_folder_that_is_not_there_is_an_error(deployment):
    for verb in ("check", "fmt", "test"):
        done = deployment.run("policy", verb, "--policies", "nowhere")
        assert done.returncode == 2
        assert "there is no folder `nowhere`" in done.stderr


TESTS = """\
tests:
  - name: a clerk says something
    as: {roles: [clerk]}
    tool: echo__say
    expect: allow
  - name: nobody says nothing
    as: {}
    tool: echo__say
    expect: allow
    rules: [clerk/allow/1]
"""


def test_a_test_that_fails_is_shown_with_its_place_what_was_expected_and_what_decided(deployment, folder):
    done = deployment.run(
        "policy", "test", "--policies", folder({"roles/c.yaml": ROLE, "tests/t.yaml": TESTS})
    )
    assert done.returncode == 1
    assert done.stdout == (
        "policies/tests/t.yaml:6: nobody says nothing\n"
        "  expected allow by `clerk/allow/1`\n"
        "  got      hidden by `default`\n"
        "           default: no role of `tester` (roles: none) permits `echo__say`\n"
        "\n"
        "1 passed, 1 failed\n"
    )
    found = json.loads(deployment.run("policy", "test", "--policies", folder({}), "--json").stdout)
    assert (found["ok"], found["passed"], found["failed"]) == (False, 1, 1)
    assert found["tests"][1]["place"] == "policies/tests/t.yaml:6"


def test_tests_that_pass_are_counted_and_a_folder_without_any_is_no_success(deployment, folder):
    passing = "tests:\n" + TESTS.partition("  - name: nobody")[0].partition("tests:\n")[2]
    where = folder({"roles/c.yaml": ROLE, "tests/t.yaml": passing})
    done = deployment.run("policy", "test", "--policies", where)
    assert (done.returncode, done.stdout) == (0, "1 passed\n")
    assert deployment.run("policy", "test").returncode == 2


def test_fmt_lays_out_what_is_not_and_check_only_says_so(deployment, folder):
    where = folder({"roles/c.yaml": "role:   clerk # x\nallow: []\n", "rules/x.cedar": "// nothing\n"})
    checked = deployment.run("policy", "fmt", "--check", "--policies", where)
    assert checked.returncode == 1
    assert (
        checked.stdout
        == f"{where}/roles/c.yaml: would be laid out otherwise\n1 of 2 files would be laid out otherwise\n"
    )
    done = deployment.run("policy", "fmt", "--policies", where)
    assert (done.returncode, done.stdout) == (0, f"{where}/roles/c.yaml: laid out\n1 of 2 files laid out\n")
    assert deployment.json("policy", "fmt", "--check", "--policies", where) == {
        "ok": True,
        "files": 2,
        "changed": [],
    }


def test_fmt_of_a_file_with_a_mistake_changes_no_file_at_all(deployment, folder):
    where = folder({"roles/a.yaml": "role:   a\nallow: []\n", "roles/b.yaml": "role: [\n"})
    done = deployment.run("policy", "fmt", "--policies", where)
    assert done.returncode == 2
    assert "roles/b.yaml:2: not YAML" in done.stderr
    assert deployment.run("policy", "fmt", "--check", f"{where}/roles/a.yaml").returncode == 1


README_ROLE = """\
role: researcher
allow:
  - tools: [echo__say, "time__*"]
    side_effects: [reads]
  - tools: [git__git_commit]
    when: depth < 2
"""


def test_a_role_is_shown_as_the_cedar_that_is_in_force_for_it(deployment, folder):
    where = folder({"roles/researcher.yaml": README_ROLE})
    done = deployment.run("policy", "show", "researcher", "--policies", where)
    assert done.stdout == (
        "// policies/roles/researcher.yaml:3\n"
        '// Selection::"researcher/allow/1" is whatever matches echo__say, time__*\n'
        '@id("researcher/allow/1")\n'
        "permit (\n"
        '  principal in Role::"researcher",\n'
        '  action in [Action::"call", Action::"list"],\n'
        '  resource in Selection::"researcher/allow/1"\n'
        ");\n"
        "\n"
        "// policies/roles/researcher.yaml:5\n"
        '// Selection::"researcher/allow/2" is whatever matches git__git_commit\n'
        '@id("researcher/allow/2")\n'
        "permit (\n"
        '  principal in Role::"researcher",\n'
        '  action in [Action::"call", Action::"list"],\n'
        '  resource in Selection::"researcher/allow/2"\n'
        ")\n"
        'when { action == Action::"list" || ((context.depth < 2)) };\n'
    )
    (first, second) = deployment.json("policy", "show", "--policies", where)
    assert (first["id"], second["patterns"]) == ("researcher/allow/1", ["git__git_commit"])
    wrong = deployment.run("policy", "show", "reseacher", "--policies", where)
    assert (wrong.returncode, "did you mean `researcher`?" in wrong.stderr) == (5, True)


def test_why_says_what_decides_and_ends_with_3_where_the_call_would_be_refused(deployment):
    allowed = deployment.run("why", "echo__say", "text=hi", "--as", "rita")
    assert allowed.returncode == 0
    assert allowed.stdout.startswith("allowed: `rita` calling `echo__say`\n\ndecided by\n  reader/allow/1  ")
    refused = deployment.json("why", "all__test_simple_text", "--as", "rita", code=3)
    assert (refused["verdict"], refused["because"][0]["rule"]) == ("deny", "no-simple-text")
    assert refused["changes"] == [
        "`no-simple-text` (policies/rules/hard.cedar:1) must not forbid it, which holds for every such call"
    ]


def test_why_answers_for_agents_that_nobody_enrolled_and_for_chains(deployment):
    hidden = deployment.json("why", "echo__say", "--role", "nobody", code=3)
    assert hidden["verdict"] == "hidden"
    chain = deployment.json("why", "all__test_image_content", "--as", "olga", "--chain", "rita", code=3)
    assert {word["actor"] for word in chain["rules"]} == {"olga", "rita"}
    made_up = deployment.run("why", "echo__say", "--role", "operator", "--chain", "role:reader,x")
    assert made_up.returncode == 0


def test_why_takes_the_moment_into_account(deployment, folder):
    rule = '@id("r") @reason("x") forbid (principal, action == Action::"call", resource) when {{ {} }};\n'
    for condition, words in (
        ('context.taint.contains("pii")', ["--taint", "pii"]),
        ("context.counters.writes > 3", ["--counter", "writes=4"]),
        ("context.min_trust < 500", ["--trust", "499"]),
        ("context.hour == 3", ["--hour", "3"]),
    ):
        where = folder({"roles/clerk.yaml": ROLE, "rules/x.cedar": rule.format(condition)})
        base = ["why", "echo__say", "--role", "clerk", "--policies", where]
        quiet = ["--hour", "12"] if "--hour" not in words else ["--hour", "4"]
        assert deployment.run(*base, *quiet).returncode == 0
        assert deployment.run(*base, *quiet, *words).returncode == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["echo__say"], "who asks?"),
        (["echo__say", "--as", "rita", "--role", "x"], "who asks?"),
        (["echo__say", "--role", "x", "--provenance", "to=evil"], "`evil` is no origin"),
        (["echo__say", "--role", "x", "--counter", "calls=many"], "`many` is no whole number"),
        (["echo__say", "--role", "x", "--counter", "calls"], "`calls` says nothing"),
        (["echo__say", "--token-file", "/no/such/file"], "cannot read a token"),
    ],
)
def test_a_question_that_cannot_be_understood_says_how_to_ask(deployment, words, message):
    done = deployment.run("why", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_an_agent_or_a_call_that_is_not_there_ends_with_5(deployment):
    assert deployment.run("why", "echo__say", "--as", "nobody").returncode == 5
    missing = deployment.run("why", "01890a5d-ac96-774b-bcce-b302099a8057")
    assert (missing.returncode, "the log holds no call" in missing.stderr) == (5, True)


def test_a_target_that_nothing_offers_is_judged_by_what_is_said_of_it_and_that_is_said(deployment):
    done = deployment.run("why", "notes__add", "--as", "olga")
    assert done.returncode == 0
    assert "`notes__add` is not offered by anything that is known here" in done.stdout


def test_a_token_is_explained_for_whom_it_stands_for(deployment):
    words = ["token", "--client-id", "rita", "--secret-file", "rita.secret", "--url", deployment.url]
    token = deployment.run(*words).stdout.strip()
    done = deployment.run("why", "echo__say", "--token-file", "-", given=f"{token}\n")
    assert done.stdout.startswith("allowed: `rita` calling `echo__say`")


def test_a_recorded_call_is_explained_and_simulated(deployment, folder):
    done = deployment.run("call", "all__test_simple_text", "--as", "rita")
    assert done.returncode == 3
    line = deployment.run("calls", "tail", "--agent", "rita", "--last", "1").stdout
    call = line.split()[-1]
    told = deployment.run("why", call)
    assert told.returncode == 3
    assert "refused by `no-simple-text`" in told.stdout
    assert "policies   the same as then" in told.stdout
    roles = {
        f"roles/{path.name}": path.read_text()
        for path in (deployment.folder / "policies/roles").glob("*.yaml")
    }
    found = deployment.json("policy", "simulate", "--policies", folder(roles), "--since", "1h")
    changed = [d for d in found["differences"] if d["target"] == "all__test_simple_text"]
    assert [(d["agent"], d["before"], d["after"]) for d in changed] == [("rita", "deny", "allow")]
    assert call in changed[0]["examples"] or changed[0]["calls"] > 3
    deployment.json("audit", "export", "--out", str(deployment.folder / f"export-{call}"))
    words = ["--against", str(deployment.folder / f"export-{call}"), "--policies", folder({})]
    assert deployment.json("policy", "simulate", *words)["calls"] == found["calls"]
    text = deployment.run("policy", "simulate", "--policies", folder({}))
    assert "would be decided otherwise" in text.stdout
    same = deployment.json("policy", "simulate", "--policies", str(deployment.folder / "policies"))
    assert same["otherwise"] == 0


def test_what_is_no_export_is_said_to_be_none(deployment, tmp_path, folder):
    where = folder({"roles/c.yaml": ROLE})
    for place in (tmp_path, tmp_path / "nothing.zip"):
        done = deployment.run("policy", "simulate", "--policies", where, "--against", str(place))
        assert done.returncode == 2
        assert "is no export" in done.stderr
    done = deployment.run("policy", "simulate", "--policies", where, "--since", "yesterday")
    assert (done.returncode, "neither a time nor a duration" in done.stderr) == (2, True)
