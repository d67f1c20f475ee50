"""A value that is taken out of a result is nowhere in it any more."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import NotDeclared
from broker.redaction import REDACTED, WITHHELD, MutedCaller, Redactor

SECRET = "dana@example.org"
CUSTOMER = {"customer": {"email": SECRET, "name": "Dana"}, "id": 7}


def text(value: object) -> dict[str, Any]:
    return {"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}


def released(body: dict[str, Any], *paths: str) -> tuple[dict[str, Any], Redactor]:
    redactor = Redactor(paths or ("customer.email",))
    return redactor.released(body), redactor


def test_structured_content_and_the_text_that_repeats_it_lose_the_value_and_nothing_else():
    body = {"content": [text(CUSTOMER)], "structuredContent": CUSTOMER, "isError": False}
    safe, redactor = released(body)
    left = {"customer": {"email": REDACTED, "name": "Dana"}, "id": 7}
    assert safe["structuredContent"] == left
    assert json.loads(safe["content"][0]["text"]) == left
    assert (redactor.removed, redactor.withheld, safe["isError"]) == (2, 0, False)
    assert body["structuredContent"]["customer"]["email"] == SECRET


@pytest.mark.parametrize(
    "part",
    [
        text(f"The customer is {SECRET}."),
        text(json.dumps(CUSTOMER) + "\n" + json.dumps(CUSTOMER)),
        text(f'"{SECRET}"'),
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "x://y", "blob": "aGk=", "mimeType": "a/b"}},
        {"type": "resource", "resource": {"uri": "x://y", "text": SECRET}},
        {"type": "something-new", "value": SECRET},
        SECRET,
    ],
)
def test_what_has_no_structure_is_withheld_as_a_whole(part):
    safe, redactor = released({"content": [part]})
    assert SECRET not in json.dumps(safe)
    assert WITHHELD in json.dumps(safe)
    assert "aGk=" not in json.dumps(safe)
    assert redactor.withheld == 1


def test_every_item_of_a_list_and_any_name_are_followed():
    body = {"structuredContent": {"rows": [{"a": {"x": "one1"}}, {"b": {"x": "two2"}}, [{"c": {"x": 3}}]]}}
    safe, _ = released(body, "rows.*.x")
    assert safe["structuredContent"] == {
        "rows": [{"a": {"x": REDACTED}}, {"b": {"x": REDACTED}}, [{"c": {"x": None}}]]
    }


def test_a_value_is_gone_wherever_else_it_is_repeated():
    body = {
        "structuredContent": {**CUSTOMER, "log": [f"mailed {SECRET}"], "by_mail": {SECRET: 1}},
        "content": [
            text({"note": f"to {SECRET}"}),
            {"type": "resource_link", "uri": "x://y", "name": SECRET},
        ],
        "_meta": {"seen": SECRET},
    }
    safe, _ = released(body)
    assert SECRET not in json.dumps(safe)
    assert safe["content"][1]["type"] == "resource_link"


def test_a_value_that_is_taken_out_cannot_break_the_form_of_a_result():
    body = {"structuredContent": {"word": "text"}, "content": [text({"word": "text"})]}
    safe, _ = released(body, "word")
    assert safe["content"][0]["type"] == "text"
    assert json.loads(safe["content"][0]["text"]) == {"word": REDACTED}


def test_the_text_beside_a_wrapped_result_is_followed_without_the_wrapper():
    rows = [{"pin": 12345}]
    safe, _ = released({"structuredContent": {"result": rows}, "content": [text(rows)]}, "result.pin")
    assert "12345" not in json.dumps(safe)


def test_resources_and_prompts_lose_values_too():
    read, _ = released(
        {"contents": [{"uri": "crm://7", "text": json.dumps(CUSTOMER)}, {"uri": "b", "blob": "eA=="}]}
    )
    assert SECRET not in json.dumps(read)
    assert read["contents"][1] == {"uri": "b", "type": "text", "text": WITHHELD}
    prompt, _ = released({"messages": [{"role": "user", "content": text(CUSTOMER)}, SECRET]})
    assert SECRET not in json.dumps(prompt)
    assert prompt["messages"][0]["role"] == "user"


def test_a_result_that_asks_back_is_not_handed_out():
    with pytest.raises(NotDeclared):
        released({"resultType": "input_required", "inputRequests": {"a": {"params": {"message": SECRET}}}})


class Ear:
    """A caller that keeps what it hears."""

    capabilities: dict[str, Any] = {"sampling": {}}  # noqa: RUF012 - a test double
    modern = True

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        self.heard.append((method, params))

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.heard.append((method, params))
        return {}

    async def deliver(self, event: dict[str, Any]) -> bool:
        raise AssertionError(f"no model streams here: {event}")

    async def poll(self, retry_ms: int) -> None:
        self.heard.append(retry_ms)


async def test_whoever_must_not_read_a_value_hears_no_words_while_the_call_is_open():
    ear = Ear()
    muted = MutedCaller(ear)
    await muted.notify("notifications/message", {"data": SECRET})
    await muted.notify("notifications/progress", {"progress": 1, "message": SECRET})
    with pytest.raises(NotDeclared):
        await muted.ask("sampling/createMessage", {"prompt": SECRET})
    await muted.poll(5)
    assert ear.heard == [("notifications/progress", {"progress": 1}), 5]
    assert (muted.capabilities, muted.modern) == ({}, True)


_NAMES = st.sampled_from(["a", "b", "c"])
_LEAVES = st.one_of(st.integers(0, 9), st.sampled_from(["plain", "other"]))
_DOCUMENTS = st.recursive(
    _LEAVES, lambda i: st.one_of(st.lists(i, max_size=3), st.dictionaries(_NAMES, i, max_size=3))
)


def _planted(value: Any, path: list[str]) -> Any:
    """The document with a secret at every place that the path reaches."""
    if isinstance(value, list):
        return [_planted(item, path) for item in value]
    if not path:
        return SECRET
    fields = dict(value) if isinstance(value, dict) else {}
    return {**fields, path[0]: _planted(fields.get(path[0], {}), path[1:])}


@given(
    document=st.dictionaries(_NAMES, _DOCUMENTS, max_size=3), path=st.lists(_NAMES, min_size=1, max_size=3)
)
def test_no_document_keeps_a_value_at_a_path_that_is_taken_out(document, path):
    planted = _planted(document, path)
    body = {"structuredContent": planted, "content": [text(planted)]}
    safe, _ = released(body, ".".join(path))
    assert SECRET not in json.dumps(safe)
