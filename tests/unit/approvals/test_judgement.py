"""What becomes of an approval, whoever says what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.approvals.interface import Approval, Keys, Reach, State, Term
from broker.approvals.judgement import MOST_REASON_CHARS, Act, agree, check_usable, deny, revoke
from broker.approvals.people import Approvers, Human, People
from broker.errors import Denied, InvalidRequest
from tests.contract.test_approvals import NOW, USE_S, approval

DANA, ERIK, FRIDA = Human("dana"), Human("erik"), Human("frida")
LEADS = People({"team-lead": Approvers(frozenset({"dana", "erik"}))})


def said(before: Approval, human: Human, people: People = LEADS, owners=frozenset(), **act):
    return agree(before, Act(human, **act), people, owners, now=NOW, use_s=USE_S)


def test_who_is_not_among_the_people_of_the_role_may_neither_agree_nor_deny_nor_take_back():
    for verdict in (
        said(approval(), FRIDA),
        deny(approval(), Act(FRIDA), LEADS, now=NOW, use_s=USE_S),
        revoke(approval(), Act(FRIDA), LEADS, now=NOW),
    ):
        assert verdict.after == approval()
        assert isinstance(verdict.refusal, Denied)
        assert verdict.refusal.message == "`frida` may not decide this: it is asked of `team-lead`"


def test_where_no_people_are_named_every_operator_may_agree():
    assert said(approval(), FRIDA, People()).after.state is State.APPROVED


def test_the_owner_of_an_agent_of_the_chain_may_deny_but_not_agree_where_that_is_ruled():
    verdict = said(approval(), DANA, owners={"dana"})
    assert "owns an agent" in str(verdict.refusal)
    assert said(approval(), ERIK, owners={"dana"}).after.state is State.APPROVED
    assert deny(approval(), Act(DANA), LEADS, now=NOW, use_s=USE_S).after.state is State.DENIED
    free = approval(terms=(Term("money", "team-lead"),))
    assert said(free, DANA, owners={"dana"}).after.state is State.APPROVED


def test_nobody_becomes_two_people_by_coming_in_two_ways():
    two = approval(terms=(Term("money", "team-lead", four_eyes=True),))
    once = said(two, DANA).after
    again = said(once, Human("operator:dana"))
    assert (again.after, again.refusal is not None) == (once, True)
    assert said(once, Human("operator:erik")).after.state is State.APPROVED
    assert "owns an agent" in str(said(approval(), Human("operator:dana"), owners={"dana"}).refusal)


def test_two_rules_are_answered_by_whoever_may_answer_each():
    both = approval(terms=(Term("money", "team-lead"), Term("mail", "privacy")))
    people = People({**LEADS.roles, "privacy": Approvers(frozenset({"erik", "frida"}))})
    first = said(both, DANA, people)
    assert ([term.rule for term in first.agreed], first.after.state) == (["money"], State.PENDING)
    assert [term.rule for term in first.after.missing] == ["mail"]
    assert said(first.after, FRIDA, people).after.state is State.APPROVED
    assert said(both, ERIK, people).after.state is State.APPROVED


def test_one_rule_that_asks_two_roles_is_not_answered_by_one():
    both = approval(terms=(Term("money", "team-lead"), Term("money", "privacy")))
    people = People({**LEADS.roles, "privacy": Approvers(frozenset({"frida"}))})
    assert [term.approver for term in said(both, DANA, people).after.missing] == ["privacy"]


@pytest.mark.parametrize("state", [State.DENIED, State.USED, State.EXPIRED, State.REVOKED, State.APPROVED])
def test_what_is_decided_is_not_decided_again(state: State):
    over = approval(state=state, decided_by="erik")
    for verdict in (said(over, DANA), deny(over, Act(DANA), LEADS, now=NOW, use_s=USE_S)):
        assert isinstance(verdict.refusal, InvalidRequest)
        assert verdict.refusal.message == f"`a1` is {state} by `erik` already"


def test_only_what_is_pending_or_approved_can_be_taken_back():
    for state in State:
        verdict = revoke(approval(state=state), Act(DANA), LEADS, now=NOW)
        taken = state in (State.PENDING, State.APPROVED)
        assert (verdict.after.state is State.REVOKED, verdict.refusal is None) == (
            taken or state is State.REVOKED,
            taken,
        )


def test_a_question_whose_time_is_over_is_not_answered():
    late = NOW + 900
    verdict = agree(approval(), Act(DANA), LEADS, (), now=late, use_s=USE_S)
    assert verdict.refusal is not None
    assert verdict.refusal.message == "`a1` is expired already"


@pytest.mark.parametrize(
    ("reach", "until"), [(Reach.CHAIN, None), (Reach.AGENT, None), (Reach.CALL, NOW + 1), (Reach.CHAIN, NOW)]
)
def test_what_reaches_further_has_an_end_to_come_and_one_call_has_none(reach: Reach, until: int | None):
    assert isinstance(said(approval(), DANA, reach=reach, until=until).refusal, InvalidRequest)


def test_of_two_who_agree_the_narrower_reach_and_the_earlier_end_count():
    two = approval(terms=(Term("money", "team-lead", four_eyes=True),))
    wide = said(two, DANA, reach=Reach.AGENT, until=NOW + 100).after
    both = said(wide, ERIK, reach=Reach.CHAIN, until=NOW + 200).after
    assert (both.reach, both.expires_at) == (Reach.CHAIN, NOW + 100)
    once = said(wide, ERIK).after
    assert (once.reach, once.expires_at) == (Reach.CALL, NOW + USE_S)


def test_a_reason_is_kept_as_long_as_it_is_short():
    denied = deny(approval(), Act(DANA, reason="no " * 1000), LEADS, now=NOW, use_s=USE_S).after
    assert (len(denied.reason), denied.decided_by, denied.expires_at) == (
        MOST_REASON_CHARS,
        "dana",
        NOW + USE_S,
    )


@given(
    voters=st.lists(
        st.sampled_from([DANA, ERIK, FRIDA, Human("operator:dana"), Human("operator:erik")]), max_size=6
    ),
    terms=st.lists(
        st.builds(
            Term,
            st.sampled_from(["a", "b"]),
            st.sampled_from(["lead", "privacy"]),
            four_eyes=st.booleans(),
            not_owner=st.booleans(),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda term: term.name,
    ),
    owners=st.frozensets(st.sampled_from(["dana", "erik", "frida"])),
)
def test_nothing_is_approved_before_enough_different_people_who_may_have_agreed_to_every_rule(
    voters, terms, owners
):
    people = People(
        {"lead": Approvers(frozenset({"dana", "erik"})), "privacy": Approvers(frozenset({"erik", "frida"}))}
    )
    now = approval(terms=tuple(terms))
    for voter in voters:
        now = said(now, voter, people, owners).after
    for term in terms:
        could = {
            voter.person
            for voter in voters
            if people.include(voter, term.approver) and not (term.not_owner and voter.person in owners)
        }
        if now.state is State.APPROVED:
            assert now.agreed(term) <= could
            assert len(now.agreed(term)) >= term.people
    if now.state is not State.APPROVED:
        assert now.missing


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (None, "expired"),
        ({"state": State.APPROVED, "expires_at": NOW}, "expired"),
        ({"state": State.PENDING}, "pending"),
        ({"state": State.USED}, "used"),
    ],
)
def test_a_call_is_made_on_nothing_but_an_approval_that_stands(changed, word):
    one = None if changed is None else approval(**changed)
    with pytest.raises(Denied, match=f"was {word} before"):
        check_usable("a1", one, NOW)
    check_usable("a1", approval(state=State.APPROVED), NOW)


def test_an_approval_covers_a_call_by_the_key_of_its_reach_and_no_other():
    same = Keys(b"call", b"chain", b"agent")
    other = {
        Reach.CALL: replace(same, call=b"x"),
        Reach.CHAIN: replace(same, chain=b"x"),
        Reach.AGENT: replace(same, agent=b"x"),
    }
    for reach in Reach:
        one = approval(reach=reach)
        for differs, keys in other.items():
            assert one.covers(keys, NOW) is (differs is not reach)
        assert not one.covers(same, one.expires_at)
