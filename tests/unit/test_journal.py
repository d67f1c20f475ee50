"""What a call, an agent and a restart leave in the books: the journal on a real store."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import anyio
import orjson
import pytest

from broker.audit.interface import Event, Outcome
from broker.audit.verify import verify
from broker.errors import BudgetExceeded, InvalidRequest, NotDeclared, UpstreamLost, UpstreamUnreachable
from broker.guardrails.interface import Action, Finding, Stage
from broker.identity.attestation import attested
from broker.journal import Journal, Opening
from broker.ledger.interface import Budget, Quote
from broker.model import (
    Agent,
    AgentId,
    AgentStatus,
    Answer,
    Attestation,
    Call,
    CallId,
    Kind,
    Manifest,
    Method,
    MicroUSD,
    OrganisationId,
    Principal,
    SideEffect,
    Target,
)
from broker.record import FINDINGS, CallRecord
from broker.storage.sqlite import open_store
from broker.storage.store import Store

BO = Agent(AgentId("bo"), OrganisationId("acme"), frozenset({"reader"}), cap_micro_usd=MicroUSD(1000))
PRINCIPAL = Principal(BO, BO.id, (BO,), frozenset({"mcp:tools"}), "jti-1", "txn-1", 0)
READS = Target(Kind.TOOL, "notes__find", "notes", "find", {}, MicroUSD(600), side_effect=SideEffect.READS)
QUOTE = Quote(MicroUSD(600), "fixed", (Budget("agent:bo", MicroUSD(1000)),))


class Nobody:
    capabilities: ClassVar[dict[str, Any]] = {}
    modern = True


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_store(tmp_path / "broker.db", deployment="broker.test", serve=True) as opened:
        await Journal(opened.journal, b"key").enrol(BO, b"d" * 32, by="dana")
        yield opened


def call(name: str = "c1") -> Call:
    return Call(CallId(name), Method.CALL_TOOL, "notes__find", {}, "token", Nobody())


async def made(
    journal: Journal, answer: Answer | BaseException, findings: list[Finding] | None = None, name: str = "c1"
) -> None:
    """One call whose upstream answers or fails like this."""
    async with journal.recorded(call(name)) as record:
        known(record)
        record.findings += findings or []
        async with journal.hold(record, PRINCIPAL, QUOTE) as hold:
            if isinstance(answer, BaseException):
                raise answer
            hold.settle(answer)
            record.body = answer.body


def known(record: CallRecord) -> None:
    record.principal, record.target, record.params = PRINCIPAL, READS, {"q": "invoice"}


async def bodies(store: Store, log: str = "acme") -> list[dict[str, Any]]:
    return [orjson.loads(record.body) async for record in store.log.records(log)]


async def money(store: Store) -> tuple[int, int]:
    balance = await store.ledger.balance("agent:bo")
    return balance.spent, balance.held


async def test_a_call_leaves_an_intent_and_an_outcome_that_points_to_it(store: Store):
    await made(Journal(store.journal, b"key"), Answer({"content": []}, cost=MicroUSD(250)))
    _, intent, outcome = await bodies(store)
    assert (intent["type"], intent["call"], intent["agent"]) == ("call.intent", "c1", "bo")
    assert intent["spend"] == {"held": 600, "price": "fixed", "budgets": [{"scope": "agent:bo", "cap": 1000}]}
    assert (outcome["outcome"], outcome["cost"], outcome["intent"]) == ("ok", 250, intent["seq"])
    assert await money(store) == (250, 0)
    assert (await verify(store.log, keys=[])).ok


async def test_a_call_over_budget_leaves_a_refusal_and_no_intent(store: Store):
    journal = Journal(store.journal, b"key")
    await made(journal, Answer({}, cost=MicroUSD(500)))
    with pytest.raises(BudgetExceeded):
        await made(journal, Answer({}), name="c2")
    last = (await bodies(store))[-1]
    assert (last["type"], last["outcome"], last["error"]["because"]) == (
        "call.denied",
        Outcome.OVER_BUDGET,
        ["budget/agent:bo"],
    )
    assert (await verify(store.log, keys=[])).ok


@pytest.mark.parametrize("cost", [-1, -(10**30), 2**53, 10**30])
async def test_an_absurd_cost_is_taken_as_the_quote_and_marked(store: Store, cost: int):
    await made(Journal(store.journal, b"key"), Answer({}, cost=MicroUSD(cost)))
    outcome = (await bodies(store))[-1]
    assert (outcome["cost"], outcome["estimated"]) == (600, True)
    assert await money(store) == (600, 0)


@pytest.mark.parametrize(
    ("failure", "charged"),
    [
        (UpstreamUnreachable("down"), 0),
        (NotDeclared("needs sampling", required={"sampling": {}}), 0),
        (UpstreamLost("gone"), 600),
        (RuntimeError("a bug"), 600),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_even_a_lost_read_is_paid_for_because_it_may_have_been_done(
    store: Store, failure: Exception, charged: int
):
    with pytest.raises(type(failure)):
        await made(Journal(store.journal, b"key"), failure)
    assert await money(store) == (charged, 0)


@pytest.mark.parametrize("result", [{"n": 2**70}, {"text": "\ud800"}, {"x": 1.5, "n": None}], ids=repr)
async def test_no_answer_of_an_upstream_is_too_odd_to_be_recorded(store: Store, result: dict[str, Any]):
    await made(Journal(store.journal, b"key"), Answer(result))
    outcome = (await bodies(store))[-1]
    assert set(outcome["result"]) == {"bytes", "commitment"}


@pytest.mark.parametrize("key", ["k", "\x1f", "\U0001f512"], ids=repr)
async def test_many_findings_are_counted_and_do_not_make_the_record_too_large(store: Store, key: str):
    finding = Finding("pii@1", Stage.RESULT, "email", Action.REDACT, "/" + key * 5000, 10, "d" * 64)
    await made(Journal(store.journal, b"key"), Answer({}), [finding] * (FINDINGS + 7))
    outcome = (await bodies(store))[-1]
    assert (len(outcome["findings"]), outcome["further_findings"]) == (FINDINGS, 7)
    assert await money(store) == (600, 0)


async def test_a_call_cancelled_in_flight_keeps_its_reserved_amount(store: Store):
    journal = Journal(store.journal, b"key")
    flying = anyio.Event()

    async def fly() -> None:
        async with journal.recorded(call()) as record:
            known(record)
            async with journal.hold(record, PRINCIPAL, QUOTE):
                flying.set()
                await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fly)
            await flying.wait()
            tasks.cancel_scope.cancel()
    outcome = (await bodies(store))[-1]
    assert (outcome["outcome"], outcome["cost"], outcome["estimated"]) == ("cancelled", 600, True)
    assert await money(store) == (600, 0)


async def test_after_a_restart_open_calls_are_closed_as_unknown_and_charged_once(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with open_store(path, deployment="broker.test", serve=True) as store:
        journal = Journal(store.journal, b"key")
        await journal.enrol(BO, b"d" * 32, by="dana")
        record = CallRecord(call=call(), started=0.0)
        known(record)
        await store.journal.open(Opening("c1", QUOTE, journal._scribe.intent(record), PRINCIPAL))
    async with open_store(path, deployment="broker.test", serve=True) as store:
        journal = Journal(store.journal, b"key")
        assert await journal.recover() == 1
        assert await journal.recover() == 0
        last = (await bodies(store))[-1]
        assert (last["type"], last["outcome"], last["reason"], last["cost"]) == (
            Event.CALL_UNKNOWN,
            "unknown",
            "broker_restart",
            600,
        )
        assert await money(store) == (600, 0)
        assert (await verify(store.log, keys=[])).ok


async def test_enrolling_and_suspending_are_recorded_with_who_did_it(store: Store):
    journal = Journal(store.journal, b"key")
    await journal.set_status(BO.id, AgentStatus.SUSPENDED, by="dana", reason="odd calls")
    _, created, changed = await bodies(store, "system")
    assert (created["type"], created["agent"], created["by"]) == ("agent.created", "bo", "dana")
    assert created["profile"] == {
        "organisation": "acme",
        "team": None,
        "roles": ["reader"],
        "cap": 1000,
        "owner": None,
        "status": "active",
        "purpose": None,
        "model": None,
        "model_version": None,
        "attributes": {},
        "attestation": "A1",
        "manifest": None,
        "drift": None,
    }
    assert (changed["agent"], changed["status"], changed["reason"]) == ("bo", "suspended", "odd calls")
    assert (changed["before"], changed["after"]) == ({"status": "active"}, {"status": "suspended"})


async def test_a_change_of_an_agent_is_recorded_with_what_was_before_and_is_after(store: Store):
    journal = Journal(store.journal, b"key")
    assert await journal.change_agent(
        BO.id, lambda bo: replace(bo, roles=frozenset({"writer"}), model="m1"), by="dana", reason="new work"
    )
    last = (await bodies(store, "system"))[-1]
    assert last["before"] == {"roles": ["reader"], "model": None}
    assert last["after"] == {"roles": ["writer"], "model": "m1"}
    assert (last["by"], last["reason"]) == ("dana", "new work")


async def test_a_revoked_agent_stays_revoked(store: Store):
    journal = Journal(store.journal, b"key")
    await journal.set_status(BO.id, AgentStatus.REVOKED, by="dana", reason="")
    with pytest.raises(InvalidRequest, match="revoked for good"):
        await journal.set_status(BO.id, AgentStatus.ACTIVE, by="dana", reason="")
    with pytest.raises(InvalidRequest, match="revoked for good"):
        await journal.change_agent(BO.id, lambda bo: replace(bo, owner="eve"), by="eve")
    await journal.set_status(BO.id, AgentStatus.REVOKED, by="dana", reason="again")
    assert [body["type"] for body in await bodies(store, "system")][-2:] == ["agent.created", "agent.changed"]


async def test_no_organisation_can_write_into_the_brokers_own_log(store: Store):
    intruder = Agent(AgentId("eve"), OrganisationId("system"), frozenset())
    with pytest.raises(InvalidRequest, match="`system` is the log of the broker itself"):
        await Journal(store.journal, b"key").enrol(intruder, b"d" * 32, by="eve")
    assert await store.agents.agents() == [BO]


MANIFEST = Manifest("bo", "1", "m1", "1", "a" * 64, "b" * 64, "c" * 64, "dana", 2_000, "kid", "d" * 64)


async def attested_bo(store: Store, clock: list[float]) -> Journal:
    """A journal with a clock, and BO with a manifest that ends at 2000."""
    journal = Journal(store.journal, b"key", clock=lambda: clock[0])
    await journal.change_agent(BO.id, lambda bo: attested(bo, MANIFEST), by="dana")
    return journal


async def level(store: Store) -> Attestation:
    agent = await store.agents.agent(BO.id)
    assert agent is not None
    return agent.attestation


async def test_a_manifest_raises_the_level_and_is_recorded(store: Store):
    await attested_bo(store, [1_000.0])
    assert await level(store) is Attestation.SIGNED
    last = (await bodies(store, "system"))[-1]
    assert (last["before"]["attestation"], last["after"]["attestation"]) == ("A1", "A2")
    assert last["after"]["manifest"]["digest"] == "d" * 64


async def test_a_manifest_that_ends_takes_its_level_along_and_says_why(store: Store):
    clock = [1_000.0]
    journal = await attested_bo(store, clock)
    assert await journal.lower_lapsed(store.agents) == 0
    clock[0] = 2_000.0
    assert await journal.lower_lapsed(store.agents) == 1
    assert await journal.lower_lapsed(store.agents) == 0
    assert await level(store) is Attestation.REGISTERED
    last = (await bodies(store, "system"))[-1]
    assert (last["by"], last["after"]) == ("broker", {"attestation": "A1"})
    assert last["attestation_lowered"] == "its manifest has ended"


async def test_a_record_that_contradicts_its_manifest_is_believed_no_more_until_it_agrees_again(store: Store):
    journal = await attested_bo(store, [1_000.0])
    await journal.change_agent(BO.id, lambda bo: replace(bo, model="m2"), by="dana")
    assert await level(store) is Attestation.SELF_DECLARED
    last = (await bodies(store, "system"))[-1]
    assert last["attestation_lowered"] == "its record says model `m2`, its manifest `m1`"
    await journal.change_agent(BO.id, lambda bo: replace(bo, model="m1"), by="dana")
    assert await level(store) is Attestation.SIGNED


async def test_nobody_can_write_a_level_into_a_record(store: Store):
    journal = Journal(store.journal, b"key")
    assert not await journal.change_agent(
        BO.id, lambda bo: replace(bo, attestation=Attestation.SIGNED), by="eve"
    )
    assert await level(store) is Attestation.REGISTERED
