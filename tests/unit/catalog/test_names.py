import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.catalog.names import Names
from broker.errors import ConfigurationError

PREFIXES = st.from_regex(r"[a-z0-9]{1,8}([_-][a-z0-9]{1,8}){0,2}", fullmatch=True)


def test_a_tool_is_called_by_its_connector_and_its_name():
    assert Names("git").exposed("git_log") == "git__git_log"


def test_an_empty_prefix_passes_every_name_through_untouched():
    names = Names("")
    assert names.exposed("a.b/c d") == "a.b/c d"
    assert names.exposed_uri("file:///x") == "file:///x"
    assert names.upstream_uri("file:///x") == "file:///x"


@given(PREFIXES, st.text(min_size=1, max_size=200))
def test_every_exposed_name_is_legal_for_every_model_api(prefix, name):
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", Names(prefix).exposed(name))


@given(PREFIXES, st.sets(st.text(min_size=1, max_size=100), min_size=2, max_size=6))
def test_different_tools_of_one_connector_never_share_an_exposed_name(prefix, upstream_names):
    names = Names(prefix)
    assert len({names.exposed(name) for name in upstream_names}) == len(upstream_names)


@given(PREFIXES, st.from_regex(r"[a-z][a-z0-9+.-]{0,8}:[a-z/?#.%]{0,20}", fullmatch=True))
def test_a_uri_comes_back_as_the_upstream_sent_it(prefix, uri):
    names = Names(prefix)
    assert names.upstream_uri(names.exposed_uri(uri)) == uri


def test_a_ui_resource_keeps_the_scheme_that_hosts_look_at():
    assert Names("maps").exposed_uri("ui://viewer/1") == "ui://maps/viewer/1"


def test_a_uri_of_another_connector_is_not_this_ones():
    assert Names("git").upstream_uri("fs+file:///etc/passwd") is None


@pytest.mark.parametrize("prefix", ["a__b", "A", "-a", "a_", "a" * 33, "a b", "ü"])
def test_a_prefix_that_would_make_names_ambiguous_is_refused(prefix):
    with pytest.raises(ConfigurationError, match="cannot be the prefix"):
        Names(prefix)
