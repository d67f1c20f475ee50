"""What every store promises about questions to humans."""

from dataclasses import replace

import anyio
import orjson
import pytest

from broker.approvals.interface import (
    OPEN,
    Approval,
    ApprovalId,
    Keys,
    Reach,
    State,
    Term,
)
from broker.approvals.judgement import Act, Verdict, agree, deny, revoke
from broker.approvals.people import Human, People
from broker.audit.interface import Entry, Event, Filter
from broker.errors import BudgetExceeded, Denied, InvalidRequest, UnknownTarget
from broker.journal import Opening
from broker.model import AgentId, AgentStatus, CallId, GrantId, MicroUSD, OrganisationId, Principal
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import NOBODY, agent, close_call, enrol, intent, money, quote, records, set_status

NOW = 1_700_000_000
USE_S = 600
MOST = 20
DANA, ERIK = Human("dana"), Human("erik")


def approval(name: str = "a1", call: bytes = b"call", **more) -> Approval:
    fields = {
        "id": ApprovalId(name),
        "organisation": OrganisationId("acme"),
        "agent": AgentId("researcher"),
        "subject": AgentId("planner"),
        "chain": (AgentId("researcher"), AgentId("planner")),
        "grants": (GrantId("g1"),),
        "transaction": "txn-1",
        "call": CallId("c0"),
        "method": "tools/call",
        "target": "shop__refund",
        "connector": "shop",
        "side_effect": "writes",
        "cost": MicroUSD(500),
        "arguments": {"bytes": 20, "hmac": "ab" * 32},
        "terms": (Term("money", "team-lead", "money leaves", not_owner=True),),
        "policy": "sha256:1",
        "keys": Keys(call, b"chain", b"agent"),
        "requested_at": NOW,
        "expires_at": NOW + 900,
        "task": "refunds",
        "taint": ("untrusted-source",),
        "provenance": {"to": "untrusted"},
        "trust": 700,
    }
    return Approval(**fields | more)


def event(kind: Event, one: Approval, **facts) -> Entry:
    return Entry(one.organisation, kind, {"approval": one.id, **facts}, agent=one.agent)


def expired(one: Approval) -> Entry:
    return event(Event.APPROVAL_EXPIRED, one)


async def ask(store: Store, one: Approval, most: int = MOST) -> Approval:
    return await store.approvals.ask(one, "sealed", event(Event.APPROVAL_REQUESTED, one), most, expired)


async def judged(store: Store, one: Approval, kind: Event, judge) -> Verdict:
    def entry(before: Approval, verdict: Verdict) -> Entry:
        return event(Event.APPROVAL_REFUSED if verdict.refusal else kind, before, was=before.state)

    return await store.approvals.judge(one.id, judge, entry)


async def approve(
    store: Store, one: Approval, human: Human = DANA, reach: Reach = Reach.CALL, until=None
) -> Verdict:
    act = Act(human, reach, until)
    return await judged(
        store,
        one,
        Event.APPROVAL_GRANTED,
        lambda before, owners, now: agree(before, act, People(), owners, now=now, use_s=USE_S),
    )


async def refuse(store: Store, one: Approval, human: Human = ERIK) -> Verdict:
    return await judged(
        store,
        one,
        Event.APPROVAL_DENIED,
        lambda before, _, now: deny(before, Act(human), People(), now=now, use_s=USE_S),
    )


async def take_back(store: Store, one: Approval) -> Verdict:
    return await judged(
        store,
        one,
        Event.APPROVAL_REVOKED,
        lambda before, _, now: revoke(before, Act(DANA), People(), now=now),
    )


async def open_on(store: Store, call: str, one: Approval, principal: Principal = NOBODY, quoted=None) -> None:
    used = (one.id, event(Event.APPROVAL_USED, one, used_by=call))
    await store.journal.open(Opening(call, quoted or quote(10), intent(call), principal, used=used))


async def told(store: Store, *kinds: Event) -> list[str]:
    """The types of all records about approvals and calls."""
    where = Filter(events=frozenset(kinds))
    bodies = [orjson.loads(record.body) async for record in records(store, where=where)]
    return [body["type"] for body in bodies if body["type"] != "log.opened"]


async def state(store: Store, one: Approval) -> State:
    found = await store.approvals.approval(one.id)
    assert found is not None
    return found.state


async def test_a_question_comes_back_as_it_was_asked(store: Store):
    asked = await ask(store, approval())
    assert asked == approval()
    assert await store.approvals.approval(asked.id) == asked
    assert await store.approvals.lasting(AgentId("researcher")) == [asked]
    assert await store.approvals.lasting(AgentId("planner")) == []
    assert await store.approvals.approvals(OPEN) == [asked]
    assert await store.approvals.sealed(asked.id) == "sealed"
    assert await told(store) == ["approval.requested"]


async def test_asking_again_for_the_same_call_changes_nothing_and_gives_the_first_question(store: Store):
    first = await ask(store, approval("a1"))
    assert await ask(store, approval("a2")) == first
    assert await store.approvals.approval(ApprovalId("a2")) is None
    assert await told(store) == ["approval.requested"]


async def test_of_any_number_of_processes_that_ask_at_once_one_question_comes_out(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as other:
        answers: list[Approval] = []

        async def asking(store: Store, name: str) -> None:
            answers.append(await ask(store, approval(name)))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(asking, (server, other)[number % 2], f"a{number}")
        assert len({one.id for one in answers}) == 1
        assert await told(server) == ["approval.requested"]


async def test_an_agent_has_no_more_questions_open_than_it_may(store: Store):
    for number in range(3):
        await ask(store, approval(f"a{number}", b"%d" % number), most=3)
    with pytest.raises(Denied, match="waits for 3 answers"):
        await ask(store, approval("a4", b"4"), most=3)
    assert await ask(store, approval("other", b"0"), most=3) == approval("a0", b"0")
    await approve(store, approval("a0"))
    await ask(store, approval("a5", b"5"), most=3)
    assert await told(store, Event.APPROVAL_REQUESTED) == ["approval.requested"] * 4


async def test_an_answer_and_its_record_are_one_commit_and_the_parameters_are_gone_with_it(store: Store):
    asked = await ask(store, approval())
    verdict = await approve(store, asked)
    assert (verdict.after.state, verdict.after.expires_at) == (State.APPROVED, NOW + USE_S)
    assert await store.approvals.approval(asked.id) == verdict.after
    assert await store.approvals.sealed(asked.id) is None
    assert await told(store) == ["approval.requested", "approval.granted"]


async def test_a_question_that_two_have_to_answer_keeps_its_parameters_for_the_second(store: Store):
    asked = await ask(store, approval(terms=(Term("money", "team-lead", four_eyes=True),)))
    assert (await approve(store, asked, DANA)).after.state is State.PENDING
    assert await store.approvals.sealed(asked.id) == "sealed"
    assert (await approve(store, asked, DANA)).refusal is not None
    assert (await approve(store, asked, ERIK)).after.state is State.APPROVED
    assert await store.approvals.sealed(asked.id) is None
    assert await told(store) == [
        "approval.requested",
        "approval.granted",
        "approval.refused",
        "approval.granted",
    ]


async def test_the_judge_is_told_who_owns_the_agents_of_the_chain_now(store: Store):
    await enrol(store, agent("researcher", owner="erik"))
    await enrol(store, agent("planner", owner="dana"))
    await enrol(store, agent("bystander", owner="frida"))
    asked = await ask(store, approval())
    seen: list[frozenset[str]] = []

    def look(before: Approval, owners, now: int) -> Verdict:
        seen.append(frozenset(owners))
        return Verdict(before, refusal=InvalidRequest("no"))

    await judged(store, asked, Event.APPROVAL_GRANTED, look)
    assert seen == [{"dana", "erik"}]


async def test_a_refused_act_is_recorded_and_changes_nothing(store: Store):
    await enrol(store, agent("planner", owner="dana"))
    asked = await ask(store, approval())
    verdict = await approve(store, asked, DANA)
    assert isinstance(verdict.refusal, Denied)
    assert await store.approvals.approval(asked.id) == asked
    assert await told(store) == ["approval.requested", "approval.refused"]


async def test_there_is_nothing_to_say_about_an_approval_that_nobody_asked_for(store: Store):
    with pytest.raises(UnknownTarget, match="no approval `a1`"):
        await approve(store, approval())
    assert await told(store) == []


async def test_of_an_approval_and_a_denial_at_the_same_time_one_wins_and_both_are_recorded(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        for number in range(10):
            asked = await ask(server, approval(f"a{number}", b"%d" % number))
            verdicts: list[Verdict] = []

            async def act(work, store: Store, asked=asked, verdicts=verdicts) -> None:
                verdicts.append(await work(store, asked))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(act, approve, server)
                tasks.start_soon(act, refuse, cli)
            (won,) = [verdict.after.state for verdict in verdicts if verdict.refusal is None]
            (lost,) = [verdict for verdict in verdicts if verdict.refusal is not None]
            assert lost.after.state is won is await state(server, asked)
        kinds = await told(server)
        assert kinds.count("approval.refused") == 10
        assert kinds.count("approval.granted") + kinds.count("approval.denied") == 10


async def test_a_call_is_opened_on_an_approval_once(store: Store):
    asked = await ask(store, approval())
    await approve(store, asked)
    await open_on(store, "c1", asked)
    assert await state(store, asked) is State.USED
    with pytest.raises(Denied, match="was used before the call began"):
        await open_on(store, "c2", asked)
    assert await told(store) == ["approval.requested", "approval.granted", "call.intent", "approval.used"]


async def test_two_processes_that_use_an_approval_at_once_open_one_call(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as other:
        asked = await ask(server, approval())
        await approve(server, asked)
        opened: list[str] = []

        async def use(store: Store, call: str) -> None:
            try:
                await open_on(store, call, asked)
            except Denied:
                return
            opened.append(call)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(use, (server, other)[number % 2], f"c{number}")
        assert len(opened) == 1
        assert (await told(server)).count("approval.used") == 1


async def test_an_approval_of_a_call_that_no_budget_holds_is_not_used_up(store: Store):
    asked = await ask(store, approval())
    await approve(store, asked)
    with pytest.raises(BudgetExceeded):
        await open_on(store, "c1", asked, quoted=quote(10, researcher=5))
    assert await state(store, asked) is State.APPROVED
    await open_on(store, "c2", asked)


async def test_a_call_whose_approval_is_used_up_holds_no_money(store: Store):
    asked = await ask(store, approval())
    await approve(store, asked)
    await open_on(store, "c1", asked, quoted=quote(10, researcher=100))
    with pytest.raises(Denied):
        await open_on(store, "c2", asked, quoted=quote(10, researcher=100))
    assert await money(store, "researcher") == (0, 10)
    await close_call(store, "c1", 10)


async def test_no_call_is_opened_on_what_is_only_asked_denied_taken_back_or_unknown(store: Store):
    pending = await ask(store, approval("a1", b"1"))
    denied = await ask(store, approval("a2", b"2"))
    await refuse(store, denied)
    revoked = await ask(store, approval("a3", b"3"))
    await approve(store, revoked)
    await take_back(store, revoked)
    for one, word in (
        (pending, "pending"),
        (denied, "denied"),
        (revoked, "revoked"),
        (approval("no"), "expired"),
    ):
        with pytest.raises(Denied, match=f"was {word} before the call began"):
            await open_on(store, "c1", one)
    assert "call.intent" not in await told(store)


async def test_a_suspended_agent_opens_no_call_on_an_approval_and_does_not_use_it_up(store: Store):
    await enrol(store, agent("researcher"))
    who = replace(NOBODY, agent=agent("researcher"), actors=(agent("researcher"),))
    asked = await ask(store, approval())
    await approve(store, asked)
    await set_status(store, "researcher", AgentStatus.SUSPENDED)
    with pytest.raises(Denied, match="suspended"):
        await open_on(store, "c1", asked, who)
    assert await state(store, asked) is State.APPROVED


async def test_what_reaches_further_than_a_call_is_not_used_up_until_it_ends(backend: Backend):
    now = float(NOW)
    async with backend.open(clock=lambda: now) as store:
        asked = await ask(store, approval())
        verdict = await approve(store, asked, reach=Reach.CHAIN, until=NOW + 60)
        assert (verdict.after.reach, verdict.after.expires_at) == (Reach.CHAIN, NOW + 60)
        for number in range(3):
            await open_on(store, f"c{number}", asked)
        now = NOW + 60.0
        with pytest.raises(Denied, match="was expired"):
            await open_on(store, "late", asked)
        assert (await told(store)).count("approval.used") == 3


async def test_an_approval_that_was_not_used_in_time_opens_no_call(backend: Backend):
    now = float(NOW)
    async with backend.open(clock=lambda: now) as store:
        asked = await ask(store, approval())
        await approve(store, asked)
        now = NOW + USE_S - 1.0
        await store.approvals.lapse(expired, 1000)
        assert await state(store, asked) is State.APPROVED
        now = float(NOW + USE_S)
        with pytest.raises(Denied, match="was expired"):
            await open_on(store, "late", asked)


async def test_what_expires_is_ended_once_recorded_and_forgotten_later(backend: Backend):
    now = float(NOW)
    async with backend.open(clock=lambda: now) as store:
        pending, agreed = await ask(store, approval("a1", b"1")), await ask(store, approval("a2", b"2"))
        await approve(store, agreed)
        assert await store.approvals.lapse(expired, 1000) == 0
        now = NOW + 900.0
        assert await store.approvals.lapse(expired, 1000) == 2
        assert await store.approvals.lapse(expired, 1000) == 0
        assert (await state(store, pending), await state(store, agreed)) == (State.EXPIRED, State.EXPIRED)
        assert await store.approvals.sealed(pending.id) is None
        assert (await told(store)).count("approval.expired") == 2
        now = NOW + 900.0 + 1000
        assert await store.approvals.lapse(expired, 1000) == 0
        assert await store.approvals.approval(pending.id) is None


async def test_the_same_call_can_be_asked_about_anew_once_the_first_question_has_expired(backend: Backend):
    now = float(NOW)
    async with backend.open(clock=lambda: now) as store:
        first = await ask(store, approval("a1"))
        now = NOW + 900.0
        second = await ask(store, approval("a2", requested_at=NOW + 900, expires_at=NOW + 1800))
        assert (second.id, await state(store, first)) == ("a2", State.EXPIRED)
        assert await told(store) == ["approval.requested", "approval.expired", "approval.requested"]
        assert await store.approvals.lapse(expired, 1000) == 0


@pytest.mark.parametrize("granted", [True, False])
async def test_questions_and_answers_survive_a_restart(backend: Backend, granted: bool):
    async with backend.open() as store:
        asked = await ask(store, approval())
        if granted:
            await approve(store, asked)
    async with backend.open() as store:
        if not granted:
            assert await store.approvals.sealed(asked.id) == "sealed"
            await approve(store, asked)
        await open_on(store, "c1", asked)
        with pytest.raises(Denied):
            await open_on(store, "c2", asked)


async def test_what_one_process_answers_the_next_look_of_another_finds(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        asked = await ask(server, approval())
        await approve(cli, asked)
        (found,) = await server.approvals.lasting(asked.agent)
        assert found.state is State.APPROVED
        assert (found.votes[0].person, found.votes[0].terms) == ("dana", ("money (team-lead)",))
