"""The order of the ten steps, and what is left behind wherever a call ends."""

import anyio
import pytest

from broker.audit.interface import Event, Outcome, Receipt
from broker.errors import (
    Because,
    Blocked,
    BudgetExceeded,
    Denied,
    PendingApproval,
    StorageUnavailable,
    Unauthenticated,
    UnknownTarget,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
)
from broker.flow.transactions import Transactions
from broker.guardrails.interface import Action, Finding, Stage
from broker.identity.interface import Fallen
from broker.inflight import InFlight
from broker.journal import Journal, Opened
from broker.ledger.prices import Prices
from broker.model import (
    Agent,
    AgentId,
    Answer,
    Call,
    CallId,
    Kind,
    Method,
    MicroUSD,
    OrganisationId,
    Principal,
    SideEffect,
    Target,
)
from broker.pipeline import Pipeline, _with_guards
from broker.policy.interface import Consent, Decision
from tests.unit.flow.memory import MemoryFlow
from tests.unit.repeating import results
from tests.unit.trusting import reputation

ALICE = Agent(AgentId("alice"), OrganisationId("acme"), frozenset({"reader"}), cap_micro_usd=MicroUSD(1000))
PRINCIPAL = Principal(ALICE, ALICE.id, (ALICE,), frozenset({"mcp:tools"}), "jti-1", "txn-1", 0)
TOOL = Target(Kind.TOOL, "notes__add", "notes", "add", {"name": "notes__add"}, price=MicroUSD(600))


class House:
    """Every port of the pipeline in one object that writes down the order in which it is used."""

    def __init__(self) -> None:
        self.steps = []
        self.entries = []
        self.settled = []
        self.principal = PRINCIPAL
        self.target = TOOL
        self.seen = True
        self.permitted = True
        self.upstream = Answer({"content": [{"type": "text", "text": "ok"}]})
        self.blocks = None
        self.found = []
        self.consents = ()
        self.store_down_at = None
        self.budget_refuses = False
        self.fallen_agents = {}
        self.inflight = InFlight(self)

    # identity
    async def authenticate(self, token):
        self.steps.append("authenticate")
        if token != "good":
            raise Unauthenticated("not a token of this broker")
        return self.principal

    # catalogue
    def find(self, call):
        return self.target

    def targets(self, kind):
        return [self.target]

    async def invoke(self, method, target, params, line):
        self.steps.append("invoke")
        self.sent = params
        if callable(self.upstream):
            return await self.upstream(line)
        if isinstance(self.upstream, Exception):
            raise self.upstream
        return self.upstream

    # guards
    async def screen(self, content, stage, scene, findings):
        self.steps.append(f"screen {stage}")
        findings += self.found if stage is Stage.ARGUMENTS else []
        if stage is self.blocks:
            findings.append(Finding("secrets@1", stage, "private-key", Action.BLOCK, "/x", 9, "00"))
            raise Blocked("a private key")
        return {**content, "screened": True} if stage is Stage.ARGUMENTS else content

    # policy
    version = "sha256:1"

    def sees(self, principal, target):
        return self.seen

    def visible(self, principal, targets):
        return [target for target in targets if self.seen]

    def decide(self, principal, target, params, situation):
        self.steps.append("decide")
        self.judged = params
        because = (Because("reader/allow/1", "reads"),)
        return Decision(self.permitted, because, self.version, consents=self.consents)

    # consents
    async def obtain(self, question):
        self.steps.append("ask a human")
        self.asked = question.decision
        raise PendingApproval(
            "a human has to agree",
            approval={"id": "q-1", "waits_for": ["dpo"], "expires_at": "2026-11-23T21:00:00Z"},
        )

    # standing
    async def fallen(self, principals):
        return Fallen(self.fallen_agents)

    # journal store
    async def open(self, opening):
        self._at("open")
        if self.budget_refuses:
            raise BudgetExceeded("`agent:alice` has spent it")
        self.steps.append("reserve + intent")
        self.quote = opening.quote
        return Opened(self._keep(opening.intent))

    async def close(self, closing):
        self._at("close")
        self.steps.append("charge + outcome")
        self.settled.append(closing.settlement)
        return self._keep(closing.terminal)

    async def append(self, entry):
        self._at("append")
        self.steps.append("denial")
        return self._keep(entry)

    def _at(self, step):
        if self.store_down_at == step:
            raise StorageUnavailable("the disk is full")

    def _keep(self, entry):
        self.entries.append(entry)
        return Receipt("acme", len(self.entries), "00", len(self.entries))

    async def call(self, token="good", method=Method.CALL_TOOL):
        journal = Journal(self, b"k" * 32)
        pipeline = Pipeline(
            identity=self,
            catalog=self,
            guards=self,
            policy=self,
            consents=self,
            delegator=None,
            prices=Prices(),
            journal=journal,
            inflight=self.inflight,
            transactions=Transactions(MemoryFlow(), b"k" * 32),
            pseudonyms=None,
            results=results(),
            reputation=reputation(),
        )
        call = Call(CallId("c-1"), method, "notes__add", {"name": "notes__add"}, token, None)
        with anyio.fail_after(5):
            return await pipeline.call(call)

    @property
    def last(self):
        return self.entries[-1]


async def test_the_steps_come_in_the_order_that_the_security_argument_needs():
    house = House()
    released = await house.call()
    assert house.steps == [
        "authenticate",
        "screen arguments",
        "decide",
        "reserve + intent",
        "invoke",
        "screen result",
        "charge + outcome",
    ]
    assert released.cost == 600
    assert released.receipt.index == 2


@pytest.mark.parametrize("method", list(Method))
async def test_every_governed_method_takes_the_same_path(method):
    house = House()
    await house.call(method=method)
    assert [entry.event for entry in house.entries] == [Event.CALL_INTENT, Event.CALL_OUTCOME]


async def test_a_stranger_leaves_no_record_and_reaches_nothing():
    house = House()
    with pytest.raises(Unauthenticated):
        await house.call(token="bad")
    assert house.steps == ["authenticate"]


@pytest.mark.parametrize("hidden", [True, False])
async def test_hidden_and_missing_give_the_same_answer_and_run_no_guard(hidden):
    house = House()
    house.seen, house.target = (False, TOOL) if hidden else (True, None)
    with pytest.raises(UnknownTarget) as refusal:
        await house.call()
    assert refusal.value.message == "there is no `notes__add` here"
    assert house.steps == ["authenticate", "denial"]


async def test_the_policy_judges_what_will_really_be_sent():
    house = House()
    await house.call()
    assert house.judged == house.sent == {"name": "notes__add", "screened": True}


async def test_a_denied_call_is_recorded_with_its_rule_and_costs_nothing():
    house = House()
    house.permitted = False
    with pytest.raises(Denied) as refusal:
        await house.call()
    assert refusal.value.call_id == "c-1"
    assert house.last.event is Event.CALL_DENIED
    assert house.last.facts["decision"]["rules"] == ["reader/allow/1"]
    assert not house.settled


async def test_blocked_arguments_are_recorded_with_the_finding_that_blocked_them():
    house = House()
    house.blocks = Stage.ARGUMENTS
    with pytest.raises(Blocked):
        await house.call()
    assert house.last.facts["outcome"] is Outcome.BLOCKED
    assert house.last.facts["findings"][0]["type"] == "private-key"


def _to_be_agreed_to() -> list[Finding]:
    mail = Finding(
        "personal@1", Stage.ARGUMENTS, "email", Action.APPROVE, "/arguments/to", 9, "00", approver="dpo"
    )
    return [mail, Finding("personal@1", Stage.ARGUMENTS, "iban", Action.FLAG, "/arguments/x", 9, "00")]


async def test_a_finding_that_a_human_has_to_agree_to_stops_a_call_that_the_policies_permit():
    house = House()
    house.found = _to_be_agreed_to()
    with pytest.raises(PendingApproval):
        await house.call()
    assert house.steps == ["authenticate", "screen arguments", "decide", "ask a human", "denial"]
    assert house.asked.because == (Because("guard/personal/email", "`email` at `/arguments/to`"),)
    assert [(c.rule, c.approver) for c in house.asked.consents] == [("guard/personal/email", "dpo")]


async def test_what_a_guard_and_what_a_rule_want_agreed_to_is_asked_together_and_what_is_agreed_to_is_not_asked():
    house = House()
    house.permitted, house.consents = False, (Consent("dear", "boss", "costs much"),)
    decision = house.decide(PRINCIPAL, TOOL, {}, None)
    asked = _with_guards(decision, _to_be_agreed_to(), frozenset())
    assert [(c.rule, c.approver) for c in asked.consents] == [
        ("dear", "boss"),
        ("guard/personal/email", "dpo"),
    ]
    assert _with_guards(decision, _to_be_agreed_to(), frozenset({"guard/personal/email"})) is decision
    refused = Decision(False, (), "v")
    assert _with_guards(refused, _to_be_agreed_to(), frozenset()) is refused


async def test_a_blocked_result_has_still_been_paid_for():
    house = House()
    house.blocks = Stage.RESULT
    with pytest.raises(Blocked):
        await house.call()
    assert house.last.facts["outcome"] is Outcome.BLOCKED
    assert house.settled[0].amount == 600
    assert not house.settled[0].estimated


async def test_a_call_over_budget_never_leaves_the_broker():
    house = House()
    house.budget_refuses = True
    with pytest.raises(BudgetExceeded):
        await house.call()
    assert "invoke" not in house.steps
    assert house.last.facts["outcome"] is Outcome.OVER_BUDGET


async def test_every_actor_of_a_chain_has_its_budget_charged():
    house = House()
    bob = Agent(AgentId("bob"), OrganisationId("acme"), frozenset())
    house.principal = Principal(bob, ALICE.id, (bob, ALICE), frozenset(), "j", "t", 0)
    await house.call()
    assert [budget.scope for budget in house.quote.budgets] == ["agent:bob", "agent:alice"]


@pytest.mark.parametrize(
    ("failure", "outcome", "charged"),
    [
        (UpstreamUnreachable("down"), Outcome.UPSTREAM_ERROR, 0),
        (UpstreamRefused("no such note", rpc_code=-32602), Outcome.UPSTREAM_ERROR, 0),
        (UpstreamLost("gone"), Outcome.UNKNOWN, 600),
        (RuntimeError("a bug"), Outcome.UNKNOWN, 600),
    ],
)
async def test_money_is_given_back_only_where_nothing_can_have_happened(failure, outcome, charged):
    house = House()
    house.upstream = failure
    with pytest.raises(type(failure)):
        await house.call()
    assert house.last.facts["outcome"] is outcome
    assert house.settled[0].amount == charged
    assert house.settled[0].estimated is (charged > 0)


async def test_a_lost_read_is_an_upstream_error_because_it_had_no_effect():
    house = House()
    house.target = Target(Kind.TOOL, "n", "n", "n", {}, side_effect=SideEffect.READS)
    house.upstream = UpstreamLost("gone")
    with pytest.raises(UpstreamLost):
        await house.call()
    assert house.last.facts["outcome"] is Outcome.UPSTREAM_ERROR


async def test_a_tools_own_failure_is_paid_for_and_told_apart():
    house = House()
    house.upstream = Answer({"content": [], "isError": True})
    await house.call()
    assert house.last.facts["outcome"] is Outcome.TOOL_ERROR
    assert house.settled[0].amount == 600


async def test_a_question_of_a_multi_round_trip_costs_nothing():
    house = House()
    house.upstream = Answer({"resultType": "input_required", "inputRequests": {}})
    await house.call()
    assert house.settled[0].amount == 0
    assert house.last.facts["question"] is True


async def test_what_an_upstream_says_in_an_error_is_screened_too():
    house = House()
    house.upstream = UpstreamRefused("the key is ...")
    with pytest.raises(UpstreamRefused):
        await house.call()
    assert house.steps.count("screen result") == 1


async def test_a_call_cancelled_in_flight_keeps_its_reserved_amount_and_its_record():
    house = House()
    began = anyio.Event()

    async def hang(line):
        began.set()
        await anyio.sleep_forever()

    house.upstream = hang
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.call)
        await began.wait()
        tasks.cancel_scope.cancel()
    assert house.last.facts["outcome"] is Outcome.CANCELLED
    assert house.settled[0].amount == 600
    assert house.settled[0].estimated


async def test_a_call_cancelled_before_it_was_sent_is_given_back():
    house = House()
    opened = house.open

    async with anyio.create_task_group() as tasks:

        async def cancelled_meanwhile(*arguments):
            receipt = await opened(*arguments)
            tasks.cancel_scope.cancel()
            return receipt

        house.open = cancelled_meanwhile
        tasks.start_soon(house.call)
    assert "invoke" not in house.steps
    assert house.last.facts["outcome"] is Outcome.CANCELLED
    assert house.settled[0].amount == 0


async def test_a_call_in_flight_ends_when_somebody_in_its_chain_is_suspended():
    house = House()
    began, ended = anyio.Event(), []

    async def hang(line):
        began.set()
        await anyio.sleep_forever()

    async def suspended():
        with pytest.raises(Denied, match="`alice` was suspended while the call ran") as refusal:
            await house.call()
        ended.append(refusal.value)

    house.upstream = hang
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(suspended)
        await began.wait()
        assert await house.inflight.stop_fallen() == 0
        house.fallen_agents = {"alice": "suspended"}
        assert await house.inflight.stop_fallen() == 1
    assert house.last.facts["outcome"] is Outcome.CANCELLED
    assert house.last.facts["reason"] == "`alice` was suspended while the call ran"
    assert house.settled[0].estimated
    assert (ended[0].call_id, ended[0].receipt["index"], ended[0].cost_micro_usd) == ("c-1", 2, 600)
    assert len(house.inflight) == 0


async def test_a_call_stopped_before_it_was_sent_never_reaches_the_upstream_and_costs_nothing():
    house = House()
    opened = house.open
    house.fallen_agents = {"alice": "revoked"}

    async def stopped_meanwhile(*arguments):
        receipt = await opened(*arguments)
        await house.inflight.stop_fallen()
        return receipt

    house.open = stopped_meanwhile
    with pytest.raises(Denied, match="`alice` was revoked"):
        await house.call()
    assert "invoke" not in house.steps
    assert house.settled[0].amount == 0


async def test_nothing_leaves_when_the_intent_cannot_be_recorded():
    house = House()
    house.store_down_at = "open"
    with pytest.raises(StorageUnavailable):
        await house.call()
    assert "invoke" not in house.steps


async def test_no_result_is_released_when_its_outcome_cannot_be_recorded():
    house = House()
    house.store_down_at = "close"
    with pytest.raises(StorageUnavailable):
        await house.call()


async def test_arguments_and_results_are_never_in_the_log():
    house = House()
    house.upstream = Answer({"content": [{"type": "text", "text": "tell-nobody"}]})
    await house.call()
    assert "tell-nobody" not in repr(house.entries)
    assert "result" not in house.last.facts
