from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
import rfc8785
from hypothesis import given

from broker.audit.interface import Entry, Event
from broker.audit.record import ENVELOPE, MAX_RECORD_BYTES, GrowingLog, opened, timestamp
from broker.audit.tree import leaf_hash, tree_root
from broker.errors import InvalidRequest

NODE = "n1"
keys = st.text(st.characters(max_codepoint=0x7F), max_size=12).filter(lambda key: key not in ENVELOPE)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8"))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)
)
facts_of_the_profile = st.dictionaries(keys, values, max_size=6)


def new_log() -> GrowingLog:
    log, _ = opened("acme", "broker.test/audit/acme", node=NODE, now=1)
    return log


def entry(facts: dict[str, Any], **more: Any) -> Entry:
    return Entry("acme", Event.CALL_DENIED, facts, **more)


@given(facts_of_the_profile)
def test_the_bytes_are_those_that_jcs_prescribes(facts: dict[str, Any]):
    body = new_log().append(entry(facts), node=NODE, now=2).body
    assert body == rfc8785.dumps(orjson.loads(body))


def test_the_envelope_is_set_by_the_log():
    written = new_log().append(
        Entry("acme", Event.CALL_INTENT, {"what": {"name": "a"}}, "c1", "researcher"),
        node=NODE,
        now=1_700_000_000_123_456,
    )
    assert orjson.loads(written.body) == {
        "v": 1,
        "log": "broker.test/audit/acme",
        "seq": 1,
        "ts": "2023-11-14T22:13:20.123456Z",
        "node": "n1",
        "type": "call.intent",
        "call": "c1",
        "agent": "researcher",
        "what": {"name": "a"},
    }


def test_a_log_begins_with_the_record_that_opened_it():
    log, first = opened("acme", "broker.test/audit/acme", node=NODE, now=1)
    assert (first.seq, first.entry.event, log.size) == (0, Event.LOG_OPENED, 1)
    assert log.head.root == tree_root([first.leaf]) == leaf_hash(first.body)


@pytest.mark.parametrize("name", sorted(ENVELOPE))
def test_facts_cannot_pretend_to_be_what_the_log_says(name: str):
    with pytest.raises(InvalidRequest, match=f"may not set `{name}`"):
        new_log().append(entry({name: "x"}), node=NODE, now=2)


@pytest.mark.parametrize(
    "facts",
    [
        {"a": 1.5},
        {"a": [{"b": 0.0}]},
        {"a": 2**53},
        {"a": -(2**53)},
        {"é": 1},
        {"a": {"ключ": 1}},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {"a": "\ud800"},
        {1: "a"},
    ],
    ids=repr,
)
def test_facts_outside_the_profile_are_refused_and_leave_no_trace(facts: Any):
    log = new_log()
    before = log.head
    with pytest.raises(InvalidRequest):
        log.append(entry(facts), node=NODE, now=2)
    assert log.head == before


def test_a_record_too_large_for_a_log_is_refused_with_its_size():
    log = new_log()
    with pytest.raises(InvalidRequest, match=r"of 62,\d{3} bytes exceeds the 61,440"):
        log.append(entry({"text": "x" * 62_000}), node=NODE, now=2)
    assert log.size == 1
    assert (
        len(log.append(entry({"text": "x" * (MAX_RECORD_BYTES - 200)}), node=NODE, now=2).body)
        <= MAX_RECORD_BYTES
    )


def test_time_in_a_log_never_runs_backwards():
    log = new_log()
    assert [log.append(entry({}), node=NODE, now=now).ts for now in (5, 3, 9)] == [5, 5, 9]


def test_a_receipt_names_the_log_the_place_and_the_leaf():
    written = new_log().append(entry({}), node=NODE, now=2)
    receipt = written.receipt
    assert (receipt.log, receipt.index, receipt.size) == ("acme", 1, 2)
    assert receipt.leaf == leaf_hash(written.body).hex()


@given(st.lists(facts_of_the_profile, max_size=12))
def test_every_prefix_has_the_root_of_its_leaves(many: list[dict[str, Any]]):
    log, first = opened("acme", "broker.test/audit/acme", node=NODE, now=1)
    leaves = [first.leaf]
    for facts in many:
        leaves.append(log.append(entry(facts), node=NODE, now=1).leaf)
        assert log.head.root == tree_root(leaves)


def test_timestamps_are_rfc_3339_in_utc_with_microseconds():
    assert timestamp(1_700_000_000_000_007) == "2023-11-14T22:13:20.000007Z"
