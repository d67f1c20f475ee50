"""What a decision looked at is read back out of its record as it was, except for what must not stand there."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.arguments import values
from broker.circumstances import UNRECORDED, looked_at, recalled
from broker.model import (
    Agent,
    AgentId,
    Argument,
    Attestation,
    Call,
    CallId,
    Kind,
    Method,
    MicroUSD,
    OrganisationId,
    Origin,
    Principal,
    Role,
    SideEffect,
    Situation,
    Target,
)
from broker.policy.interface import Consent, Decision
from broker.record import CallRecord, Scribe

AMOUNT = Argument("amount", "payment.sum", 2, Role.AMOUNT)
TO = Argument("to", "payment.iban", None, Role.DESTINATION)
REGION = Argument("region", "region", record=True)
TARGET = Target(
    kind=Kind.TOOL,
    name="bank__pay",
    connector="bank",
    upstream_name="pay",
    definition={},
    price=MicroUSD(700),
    side_effect=SideEffect.DESTROYS,
    labels=frozenset({"money", "pii"}),
    agent=AgentId("clerk"),
    arguments=(AMOUNT, TO, REGION),
    risk=7,
    min_trust=300,
)
SECRET = "DE02120300000000202051"


def agent(name: str, *roles: str, **more) -> Agent:
    return Agent(AgentId(name), OrganisationId("acme"), frozenset(roles), **more)


def body(arguments, situation=Situation(), target=TARGET, decision=None, actors=None):  # noqa: B008 - frozen
    """A record as it is read from the log."""
    actors = actors or (agent("ann", "a", "b", team="red", attestation=Attestation.SIGNED), agent("bob"))
    params = {"name": target.name, "arguments": arguments}
    call = Call(CallId("c1"), Method.CALL_TOOL, target.name, params, "", None)
    record = CallRecord(call, 0.0, target=target, params=params, situation=situation)
    record.principal = Principal(actors[0], actors[-1].id, actors, frozenset(), "token", "txn", 0)
    record.decision = decision or Decision(permitted=True, because=(), policy="sha256:x")
    entry = Scribe(b"k" * 32).intent(record)
    facts = {**entry.facts, "call": entry.call, "log": "broker.test/audit/acme", "ts": "2026-01-02T03:04:05Z"}
    return orjson.loads(orjson.dumps(facts, option=orjson.OPT_STRICT_INTEGER))


def test_who_asked_for_what_in_which_situation_is_read_back():
    situation = Situation(
        taint=frozenset({"untrusted-source"}),
        provenance={"to": Origin.UNTRUSTED},
        counters={"calls": 3, "sum.amount": 2**60},
        trust=640,
        approved=frozenset({"r1"}),
    )
    past = recalled(body({"payment": {"sum": "19.99", "iban": SECRET}, "region": "eu"}, situation))
    ann, bob = past.principal.actors
    assert (ann.id, ann.roles, ann.team, ann.attestation) == ("ann", {"a", "b"}, "red", "A2")
    assert (bob.id, bob.roles, bob.organisation, past.principal.subject) == (
        "bob",
        frozenset(),
        "acme",
        "bob",
    )
    assert past.situation == situation
    for field in (
        "kind",
        "name",
        "connector",
        "price",
        "side_effect",
        "labels",
        "agent",
        "risk",
        "min_trust",
    ):
        assert getattr(past.target, field) == getattr(TARGET, field), field
    assert (past.call, past.at, past.permitted, past.asked) == ("c1", "2026-01-02T03:04:05Z", True, False)


def test_numbers_and_texts_that_are_marked_are_read_back_and_no_other_text_is_in_the_record():
    record = body({"payment": {"sum": [19.99, "5"], "iban": SECRET}, "region": "eu"})
    assert SECRET not in orjson.dumps(record).decode()
    past = recalled(record)
    amount, to, region = past.target.arguments
    assert values(amount, past.params) == (1999, 500)
    assert values(region, past.params) == ("eu",)
    assert values(to, past.params) == (UNRECORDED,)
    assert past.unrecorded == {"to"}


def test_an_argument_that_was_not_there_is_not_there_and_one_that_could_not_be_read_still_cannot():
    past = recalled(body({"payment": {"sum": "much"}}))
    amount, to, region = past.target.arguments
    assert (values(to, past.params), values(region, past.params)) == ((), ())
    with pytest.raises(ValueError, match="is not a number"):
        values(amount, past.params)
    assert past.unrecorded == frozenset()


def test_many_or_long_values_are_not_recorded_so_that_content_cannot_make_a_record_too_large():
    past = recalled(body({"payment": {"sum": list(range(40))}, "region": "x" * 5000}))
    assert past.unrecorded == {"amount", "region"}
    assert len(orjson.dumps(body({"region": "x" * 5000}))) < 2000


def test_a_call_that_was_held_for_a_human_is_known_to_have_been():
    held = Decision(permitted=False, because=(), policy="p", consents=(Consent("r", "lead"),))
    past = recalled(body({}, decision=held))
    assert (past.permitted, past.asked) == (False, True)


def test_what_is_as_always_takes_no_room():
    plain = Target(Kind.TOOL, "a__b", "a", "b", {})
    principal = Principal(agent("ann"), AgentId("ann"), (agent("ann"),), frozenset(), "t", "x", 0)
    assert looked_at(principal, plain, {}, Situation()) == {"actors": [{"roles": [], "level": 1}]}


@pytest.mark.parametrize("record", [{}, {"decision": {"permitted": True, "rules": [], "policy": "p"}}])
def test_a_record_without_a_decision_or_older_than_this_is_not_guessed_at(record):
    assert recalled(record) is None


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 9))
def test_a_number_of_any_size_and_scale_is_read_back_exactly(number, scale):
    target = Target(Kind.TOOL, "a__b", "a", "b", {}, arguments=(Argument("n", "n", scale),))
    sign, digits = ("-" if number < 0 else ""), str(abs(number)).rjust(scale + 1, "0")
    text = f"{sign}{digits[: len(digits) - scale]}.{digits[len(digits) - scale :]}" if scale else str(number)
    past = recalled(body({"n": text}, target=target))
    assert values(past.target.arguments[0], past.params) == (number,)
