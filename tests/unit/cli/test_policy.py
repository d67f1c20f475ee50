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
    assert [remark for remark in found["remarks"] if remark["level"] == "warning"] == []


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
