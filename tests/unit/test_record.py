"""Whose are arguments and results? Those whom a declared argument or a finding names."""

import pytest

from broker.audit.payloads import MOST_PEOPLE, Identifier, Part
from broker.guardrails.interface import FURTHER, Action, Finding, Stage
from broker.model import Argument, Call, CallId, Kind, Method, Target
from broker.record import CallRecord, canonical, released, sent
from tests.unit.test_journal import Nobody

WHO = Argument("customer", "customer.email", subject=True)
TOOL = Target(Kind.TOOL, "crm__find", "crm", "find", {}, arguments=(WHO, Argument("note", "note")))


def about(*emails: object, findings: tuple[Finding, ...] = ()) -> CallRecord:
    params = {
        "name": "crm__find",
        "arguments": {"customer": [{"email": one} for one in emails], "note": "hello"},
    }
    call = Call(CallId("c1"), Method.CALL_TOOL, "crm__find", params, "token", Nobody())
    return CallRecord(call, 0.0, target=TOOL, params=params, findings=list(findings))


def finding(kind: str = "email", *, person: bytes = b"", via: str = "") -> Finding:
    return Finding("personal@1", Stage.ARGUMENTS, kind, Action.FLAG, "/x", 9, "00", via=via, person=person)


def test_a_declared_argument_names_the_people_and_no_other_does():
    payload = sent(about("anna@firma.hu", "bert@firma.hu"))
    assert payload.part is Part.ARGUMENTS
    assert payload.people == (Identifier("anna@firma.hu"), Identifier("bert@firma.hu"))
    assert payload.complete


def test_a_result_is_also_about_those_whom_its_arguments_name():
    record = about("anna@firma.hu", findings=(finding(person=b"handle of bert"),))
    record.body = {"content": []}
    payload = released(record)
    assert payload.people == (Identifier("anna@firma.hu"), Identifier(handle=b"handle of bert"))
    assert payload.content == canonical({"content": []})


def test_a_result_that_was_not_handed_out_is_nobodys_to_keep():
    assert released(about("anna@firma.hu")) is None


def test_an_argument_that_is_not_what_was_declared_names_nobody():
    assert sent(about({"nested": True})).people == ()


@pytest.mark.parametrize(
    "found", [finding(FURTHER), finding(person=b"handle", via="base64")], ids=["too many", "encoded"]
)
def test_where_somebody_may_not_be_named_the_payload_is_not_complete(found: Finding):
    assert not sent(about("anna@firma.hu", findings=(found,))).complete


def test_more_people_than_can_be_told_apart_make_it_incomplete():
    payload = sent(about(*(f"p{n}@firma.hu" for n in range(MOST_PEOPLE + 1))))
    assert (len(payload.people), payload.complete) == (MOST_PEOPLE, False)
