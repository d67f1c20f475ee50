"""An upstream that is an agent hears on whose behalf it is asked, in every revision; no other one does."""

from typing import Any, ClassVar

import pytest

from broker.connector import Line
from connectors.mcp_upstream.envelope import legacy_params, modern_params


class Nobody:
    capabilities: ClassVar[dict[str, Any]] = {}
    modern = True


@pytest.mark.parametrize("enveloped", [modern_params, legacy_params])
def test_a_delegation_goes_into_meta_and_nowhere_else(enveloped):
    line = Line("c1", Nobody(), "acme", "planner", delegation="a.b.c")
    sent = enveloped({"name": "ask", "arguments": {"q": 1}}, line, 1)
    assert sent["_meta"]["io.toolbroker/delegation"] == "a.b.c"
    assert {key: value for key, value in sent.items() if key != "_meta"} == {
        "name": "ask",
        "arguments": {"q": 1},
    }
    assert "a.b.c" not in repr(line)


@pytest.mark.parametrize("enveloped", [modern_params, legacy_params])
def test_without_a_delegation_nothing_is_said(enveloped):
    sent = enveloped({"name": "ask"}, Line("c1", Nobody(), "acme", "planner"), 1)
    assert "io.toolbroker/delegation" not in sent.get("_meta", {})
