import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.configuration.load import Loaded, load_settings
from broker.configuration.places import parse
from broker.errors import ConfigurationError


def written(folder: Path, text: str) -> Path:
    path = folder / "broker.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def loaded(folder: Path, text: str, environ: dict[str, str] | None = None, **overrides: object) -> Loaded:
    given_keys = {tuple(name.split("__")): value for name, value in overrides.items()}
    return load_settings(written(folder, text), environ or {}, given_keys)


def refused(folder: Path, text: str, environ: dict[str, str] | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        loaded(folder, text, environ)
    return caught.value


def test_without_any_file_the_defaults_run_on_loopback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = load_settings(None, {}, {})
    assert found.settings.resource == "http://127.0.0.1:8321/mcp"
    assert found.settings.state_dir == tmp_path / ".broker"
    assert {origin for _, _, origin in found.effective()} == {"default"}


def test_each_place_overrides_the_one_before_it_and_is_named_as_origin(tmp_path):
    text = """\
        deployment = "file"
        [server]
        port = 1
        host = "127.0.0.2"
        [tokens]
        lifetime_s = 60
    """
    found = loaded(
        tmp_path, text, {"BROKER_SERVER__PORT": "2", "BROKER_TOKENS__LIFETIME_S": "70"}, server__port=3
    )
    assert (found.settings.server.port, found.settings.tokens.lifetime_s) == (3, 70)
    assert found.origin(("server", "port")) == "command line"
    assert found.origin(("server", "host")) == "broker.toml:4"
    assert found.origin(("tokens", "lifetime_s")) == "env BROKER_TOKENS__LIFETIME_S"
    assert found.origin(("server", "public_url")) == "default"
    assert found.origin(("deployment",)) == "broker.toml:1"


def test_the_file_is_found_by_option_then_by_variable_then_in_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("option", "variable", "here"):
        folder = tmp_path / name
        folder.mkdir()
        written(folder, f'deployment = "{name}"')
    written(tmp_path, 'deployment = "here"')
    environ = {"BROKER_CONFIG": str(tmp_path / "variable" / "broker.toml")}
    option = load_settings(tmp_path / "option" / "broker.toml", environ, {})
    assert option.settings.deployment == "option"
    assert load_settings(None, environ, {}).settings.deployment == "variable"
    assert load_settings(None, {}, {}).settings.deployment == "here"


def test_a_file_that_was_named_has_to_be_there(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot read .*no\.toml") as caught:
        load_settings(tmp_path / "no.toml", {}, {})
    assert caught.value.hint == "`broker init` writes a new one"


def test_relative_paths_start_from_the_folder_of_the_file_and_not_from_here(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    text = """\
        policies_dir = "policies"
        [server]
        tls_certificate = "tls/chain.pem"
        tls_key = "/etc/key.pem"
    """
    found = loaded(tmp_path, text).settings
    assert found.state_dir == tmp_path / ".broker"
    assert found.policies_dir == tmp_path / "policies"
    assert found.server.tls_certificate == tmp_path / "tls" / "chain.pem"
    assert found.server.tls_key == Path("/etc/key.pem")


def test_an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant(tmp_path):
    error = refused(tmp_path, "\n\n[server]\nhost = 'localhost'\nporrt = 9\n")
    assert (error.message, error.hint) == ("broker.toml:5: unknown key `porrt`", "did you mean `port`?")


def test_an_unknown_section_is_named_with_its_line(tmp_path):
    error = refused(tmp_path, "[servr]\nport = 9\n")
    assert (error.message, error.hint) == ("broker.toml:1: unknown key `servr`", "did you mean `server`?")


def test_an_unknown_key_inside_a_connector_is_found_too(tmp_path):
    error = refused(tmp_path, "[connectors.git]\nuse = 'mcp'\ntimout_s = 3\n")
    assert (error.message, error.hint) == (
        "broker.toml:3: unknown key `timout_s`",
        "did you mean `timeout_s`?",
    )


def test_a_missing_key_is_named_with_the_line_of_its_section(tmp_path):
    error = refused(tmp_path, "\n[connectors.git]\nprefix = 'g'\n")
    assert error.message == "broker.toml:2: `connectors.git.use` is missing"


def test_a_value_of_the_wrong_type_is_named_with_its_line_and_what_it_is(tmp_path):
    error = refused(tmp_path, "[server]\nport = 'http'\n")
    assert error.message.startswith("broker.toml:2: `server.port` must be a valid integer")
    assert error.message.endswith("not `http`")


def test_a_value_out_of_range_in_the_environment_names_the_variable(tmp_path):
    error = refused(tmp_path, "", {"BROKER_TOKENS__LIFETIME_S": "5"})
    assert error.message.startswith("env BROKER_TOKENS__LIFETIME_S: `tokens.lifetime_s` must be greater")


def test_every_mistake_is_told_at_once(tmp_path):
    error = refused(tmp_path, "deploymnt = 'x'\n[server]\nport = -1\n")
    assert [line.partition(": ")[0] for line in error.message.splitlines()] == [
        "broker.toml:3",
        "broker.toml:1",
    ]


def test_text_that_is_no_toml_is_named_with_its_line(tmp_path):
    error = refused(tmp_path, "[server]\nport = = 3\n")
    assert error.message == "broker.toml:2: invalid value"


def test_a_list_in_the_environment_is_json(tmp_path):
    found = loaded(tmp_path, "", {"BROKER_SERVER__ALLOWED_HOSTS": '["a.example", "b.example"]'})
    assert found.settings.server.allowed_hosts == ("a.example", "b.example")


def test_a_table_in_the_environment_is_the_origin_of_all_that_is_in_it(tmp_path):
    found = loaded(tmp_path, "", {"BROKER_CONNECTORS__E": '{"use": "echo", "timeout_s": 3}'})
    assert found.settings.connectors["e"].use == "echo"
    assert found.origin(("connectors", "e", "timeout_s")) == "env BROKER_CONNECTORS__E"


def test_broken_json_in_the_environment_names_the_variable(tmp_path):
    error = refused(tmp_path, "", {"BROKER_SERVER__ALLOWED_HOSTS": '["a"'})
    assert error.message.startswith("env BROKER_SERVER__ALLOWED_HOSTS: not JSON")


def test_variables_that_others_set_for_a_service_called_broker_are_left_alone(tmp_path):
    found = loaded(tmp_path, "", {"BROKER_PORT": "tcp://10.0.0.1:80", "BROKER_SERVICE_HOST": "10.0.0.1"})
    assert found.settings.server.port == 8321


def test_a_typing_error_in_a_variable_is_an_error_and_not_a_default(tmp_path):
    error = refused(tmp_path, "", {"BROKER_STATEDIR": "elsewhere"})
    assert error.hint == "did you mean `BROKER_STATE_DIR`?"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "broker.example"])  # noqa: S104
def test_an_address_that_others_can_reach_needs_tls_or_a_proxy(tmp_path, host):
    error = refused(tmp_path, f"[server]\nhost = '{host}'\n")
    assert error.message == f"broker.toml:2: `{host}` can be reached from other computers, unencrypted"
    assert "behind_proxy" in (error.hint or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_loopback_needs_no_tls(tmp_path, host):
    assert loaded(tmp_path, f"[server]\nhost = '{host}'\n").settings.server.host == host


def test_behind_a_proxy_clients_have_to_be_told_the_public_url(tmp_path):
    assert "public_url" in refused(tmp_path, "[server]\nbehind_proxy = true\n").message
    text = "[server]\nhost = '0.0.0.0'\nbehind_proxy = true\npublic_url = 'https://broker.example/'\n"
    assert loaded(tmp_path, text).settings.issuer == "https://broker.example/oauth"


@pytest.mark.parametrize(
    "url", ["broker.example", "ftp://broker.example", "https://broker.example/base", "http:///x"]
)
def test_a_public_url_is_scheme_and_host_and_nothing_else(tmp_path, url):
    error = refused(tmp_path, f"[server]\npublic_url = '{url}'\n")
    assert error.message.startswith("broker.toml:2: `server.public_url` must be")


def test_a_public_url_without_encryption_is_refused(tmp_path):
    assert "unencrypted" in refused(tmp_path, "[server]\npublic_url = 'http://broker.example'\n").message


def test_the_brokers_own_tools_have_its_name_and_nothing_else_has_it(tmp_path):
    assert (
        loaded(tmp_path, "[connectors.broker]\nuse = 'broker'\n").settings.connectors["broker"].use
        == "broker"
    )
    for wrong in (
        "[connectors.broker]\nuse = 'mcp'\n",
        "[connectors.own]\nuse = 'broker'\n",
        "[connectors.broker]\nuse = 'broker'\nprefix = ''\n",
        "[connectors.files]\nuse = 'mcp'\nprefix = 'broker'\n",
    ):
        error = refused(tmp_path, wrong)
        assert "`broker` names the broker's own tools" in error.message, error.message
        assert error.message.startswith("broker.toml:1: ")


def test_half_of_a_tls_pair_is_refused(tmp_path):
    assert "go together" in refused(tmp_path, "[server]\ntls_key = 'k.pem'\n").message


def test_an_ipv6_address_stands_in_brackets_in_the_public_url(tmp_path):
    assert loaded(tmp_path, "[server]\nhost = '::1'\nport = 7\n").settings.public_url == "http://[::1]:7"


def test_values_over_many_lines_are_placed_where_they_begin():
    text = textwrap.dedent('''\
        # a comment

        first = """
        [not.a.table]
        text = 1
        """
        [a."b.c"]   # quoted
        list = [
          1,
          # in between
          2,
        ]
        dotted.key = { x = 1, y = { z = 2 } }
    ''')
    document = parse(text, "f")
    assert document.places == {
        ("first",): "f:3",
        ("a", "b.c", "list"): "f:8",
        ("a", "b.c", "dotted", "key", "x"): "f:13",
        ("a", "b.c", "dotted", "key", "y", "z"): "f:13",
    }
    assert document.headers == {("a", "b.c"): "f:7"}


def test_records_of_a_high_risk_system_stay_for_six_months(tmp_path):
    assert loaded(tmp_path, "[audit]\nrecord_days = 182\n").settings.audit.record_days == 182
    assert loaded(tmp_path, "[audit]\nrecord_days = 183\nhigh_risk = true\n").settings.audit.high_risk
    refusal = refused(tmp_path, "[audit]\nrecord_days = 182\nhigh_risk = true\n")
    assert "at least 183 days" in refusal.message


def test_what_was_said_goes_no_later_than_the_record_of_it(tmp_path):
    refusal = refused(tmp_path, "[audit]\nrecord_days = 20\n")
    assert "`payload_days` cannot be more than `record_days`" in refusal.message


def test_the_key_of_payloads_may_be_in_a_file_beside_the_configuration(tmp_path):
    audit = loaded(tmp_path, '[audit]\npayload_key = "file:keys/payloads"\n').settings.audit
    assert audit.payload_key == f"file:{tmp_path / 'keys' / 'payloads'}"


NAMES = st.text("abcdefg", min_size=1, max_size=3)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(), max_size=4), max_size=4))
def test_every_value_of_every_document_has_the_line_it_stands_on(tables):
    lines = [
        line
        for name, table in tables.items()
        for line in [f"[{name}]", *(f"{key} = {value}" for key, value in table.items()), ""]
    ]
    document = parse("\n".join(lines), "f")
    for (table, key), place in document.places.items():
        line = lines[int(place.removeprefix("f:")) - 1]
        assert line == f"{key} = {tables[table][key]}"
    assert len(document.places) == sum(len(table) for table in tables.values())
