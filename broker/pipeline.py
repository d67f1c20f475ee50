"""One call, from the wire to the wire. Read this file first.

    authenticate → resolve → screen arguments → decide → reserve → record intent →
    invoke → settle → screen result → record outcome

The order is the security argument, so it is written here and configured nowhere:

* authenticate: what follows speaks of a principal, never of a token
* resolve: what this chain may not see does not exist for it; nothing runs for strangers
* screen arguments: guards may redact, pseudonyms are put back where a policy says so, and what follows must
  judge what will really be sent
* decide: on the final arguments and on all that the transaction has read, for every actor of the chain;
  where a rule wants it, a human agrees first
* reserve and record intent: one durable commit before anything leaves; a crash cannot hide a call
* invoke: the only place that runs third-party code; not needed where the answer is known already, for a
  call sent again under its idempotency key or something read a moment ago (`broker/results.py`)
* settle: as soon as the upstream has answered; a blocked result has still been paid for
* screen result: before anyone reads it
* record outcome: one durable commit before the result is released

From the intent to the outcome the call is in flight: whoever in its chain is suspended or revoked
meanwhile, in whichever process, ends it (`broker/inflight.py`).

Tools, resources, prompts, completions and models all take this path. There is no second one.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from broker.audit.interface import Receipt
from broker.catalog.interface import Catalog
from broker.connector import Line
from broker.consents import Consents, Question
from broker.errors import Because, BrokerError, Denied, InvalidRequest, UnknownTarget, UpstreamRefused
from broker.flow.transactions import Transactions, Turn
from broker.formats import FORMATS
from broker.grants import Delegator
from broker.guardrails.interface import Action, Finding, Guards
from broker.guardrails.pseudonyms import Disguise, Holder, PseudonymStore
from broker.guardrails.relay import ScreenedCaller, add_new
from broker.guardrails.restoring import meant
from broker.guardrails.scene import Scene, inward, outward
from broker.identity.interface import Authenticator
from broker.inflight import InFlight
from broker.journal import Journal
from broker.ledger.interface import Notice, Quote
from broker.ledger.prices import Prices
from broker.model import BETAS, CLAMPED, Answer, Call, CallId, Grant, Json, Kind, MicroUSD, Principal, Target
from broker.observed import least_of, observe
from broker.policy.interface import Consent, Decision, Obligations, Policy
from broker.record import CallRecord
from broker.redaction import WITHHELD, MutedCaller, Redactor
from broker.reputation import Reputation
from broker.results import Results


@dataclass(frozen=True, slots=True)
class Released:
    """A result that may be handed out: it has been screened, paid for and recorded."""

    body: Json
    call: CallId
    parent: str | None
    root: str
    cost: MicroUSD
    receipt: Receipt | None
    watermark: Json | None = None
    """For whom it was made, where a rule asks to say so."""
    notices: tuple[Notice, ...] = ()
    """What is to be told of the budgets above it."""
    clamped: int | None = None
    """How many tokens a model was left to write, where that was fewer than wanted."""
    repeats: str | None = None
    """The earlier call whose answer it is."""


class Pipeline:
    """Every way in builds a `Call` and brings it here."""

    def __init__(
        self,
        *,
        identity: Authenticator,
        catalog: Catalog,
        guards: Guards,
        policy: Policy,
        consents: Consents,
        delegator: Delegator,
        prices: Prices,
        journal: Journal,
        inflight: InFlight,
        transactions: Transactions,
        pseudonyms: PseudonymStore,
        results: Results,
        reputation: Reputation,
    ) -> None:
        self.identity = identity
        self.catalog = catalog
        self.guards = guards
        self.policy = policy
        self.consents = consents
        self.delegator = delegator
        self.prices = prices
        self.journal = journal
        self.inflight = inflight
        self.transactions = transactions
        self.pseudonyms = pseudonyms
        self.results = results
        self.reputation = reputation

    async def call(self, call: Call) -> Released:
        """Do what the call asks, if its whole chain may, and hand out the result.

        Raises:
            BrokerError: one of the tree in `broker/errors.py`, with the call's id.
        """
        async with self.journal.recorded(call) as record, _covered(record):
            principal = await self._authenticate(record)
            target = record.target = self._resolve(principal, call)
            record.disguise = Disguise(self.pseudonyms, partial(self._holder, principal, call))
            scene = Scene.of(principal, target, record.disguise)
            params = await self.guards.screen(call.params, outward(target), scene, record.findings)
            record.params = params
            await self._observe(record, principal, target, params)
            while True:  # once, unless another process goes on with the transaction meanwhile
                turn, principal, target = await self._decide(record, principal, target, params)
                with turn:
                    hop = await self.delegator.plan_for(principal, target, call) if target.agent else None
                    quote = self.prices.quote(principal, target, call.method, params, call.address)
                    earlier = await self.results.earlier(record, principal, target, self.catalog.version)
                    if earlier is not None:
                        quote = quote.for_nothing(earlier.call)
                    _keep_within(record, quote)
                    fit = partial(self.prices.fit, least=least_of(call, params)) if quote.bound else None
                    with self.inflight.flight(record, principal):  # a revocation cancels what is in here
                        # reserve + intent: one commit; leaving: charge + outcome, one commit
                        async with self.journal.hold(record, principal, quote, fit) as hold:
                            if earlier is not None:  # nothing is done; all the rest is as ever
                                answer = earlier.again()
                            else:
                                answer = await self._invoke(record, principal, target, params, hop)
                            hold.settle(answer)
                            self.results.keep(record)
                            body = record.body = await self._screen_result(record, scene, answer.body)
                    return _released(record, body)

    async def visible(self, token: str, kind: Kind, delegation: str | None = None) -> Sequence[Target]:
        """What exists for this chain: the same answer that `call` resolves by.

        Raises:
            Unauthenticated: the token is not valid. Denied: the delegation does not stand.
        """
        return self.shown(await self.speaker(token, delegation), kind)

    def shown(self, principal: Principal, kind: Kind) -> Sequence[Target]:
        """What exists for a chain that is authenticated, and is trusted as far as it is now."""
        targets = self.policy.visible(principal, self.catalog.targets(kind))
        return self.reputation.shown(principal, targets)

    async def speaker(self, token: str, delegation: str | None = None) -> Principal:
        """Who speaks, in its whole chain, now.

        Raises:
            Unauthenticated: the token is not valid. Denied: the delegation does not stand.
        """
        principal = await self.identity.authenticate(token)
        return principal if delegation is None else await self.identity.delegated(principal, delegation)

    async def _decide(
        self, record: CallRecord, principal: Principal, target: Target, params: Json
    ) -> tuple[Turn, Principal, Target]:
        """Judge the call on what its transaction has done. Who gets the turn enters it before all else.

        Where rules want that, humans have to agree; then everything is looked at and judged again, for
        while they thought about it the caller may have been suspended, or a rule or the target changed.

        Raises:
            Denied: a rule or a human says no. PendingApproval: a human has not answered yet.
        """
        while True:
            turn = record.turn = await self.transactions.turn(principal, record.call, target, params)
            decision, question = self._judge(record, principal, target, params, turn)
            if decision.permitted:
                return turn, principal, target
            if await self.transactions.moved(turn):
                continue
            if question is None:
                self.reputation.heed(principal, decision.because)
                raise _denied(decision, principal, target)
            record.approval = await self.consents.obtain(question)
            principal = await self._authenticate(record)
            target = record.target = self._resolve(principal, record.call)

    def _judge(
        self, record: CallRecord, principal: Principal, target: Target, params: Json, turn: Turn
    ) -> tuple[Decision, Question | None]:
        """The verdict, and what humans have to be asked if they could change it.

        What they have agreed to counts if it is still what is asked for.
        """
        trust, approval = self.reputation.lowest(principal), record.approval
        situation = record.situation = replace(turn.situation, trust=trust)
        decision = self.policy.decide(principal, target, params, situation)
        decision = record.decision = _with_guards(decision, record.findings, situation.approved)
        record.approval = None
        if not decision.consents:
            return decision, None
        asked = Question(record.call, principal, target, params, situation, decision, turn.step.transaction)
        if approval is None or not self.consents.covers(approval, asked):
            return decision, asked
        agreed = record.situation = replace(situation, approved=approval.rules)
        record.approval = approval
        decision = self.policy.decide(principal, target, params, agreed)
        record.decision = _with_guards(decision, record.findings, agreed.approved)
        return record.decision, None

    async def _authenticate(self, record: CallRecord) -> Principal:
        """Who calls, in which chain, for which call. Whose delegation fails is recorded all the same."""
        call = record.call
        principal = record.principal = await self.identity.authenticate(call.token)
        if call.delegation is not None:
            principal = record.principal = await self.identity.delegated(principal, call.delegation)
        if principal.grants or call.claimed_parent is not None:
            await self.journal.place(record, principal)
        return principal

    def _resolve(self, principal: Principal, call: Call) -> Target:
        target = self.catalog.find(call)
        if target is None or not self.policy.sees(principal, target):
            raise UnknownTarget(
                f"there is no `{call.name[:200]}` here",
                hint="list what is offered and use a name from that list",
            )
        if target.kind is Kind.MODEL and call.method not in target.definition["methods"]:
            raise InvalidRequest(
                f"`{target.name}` does not speak `{call.method}`",
                hint=f"it speaks `{'`, `'.join(target.definition['methods'])}`: ask it there, under `/v1/`",
            )
        return target

    async def _invoke(
        self, record: CallRecord, principal: Principal, target: Target, params: Json, hop: Grant | None
    ) -> Answer:
        line = self._line(record, principal, target)
        if record.quote and record.quote.bound:
            params = await self._shrunk(record.call, target, params, record.quote.bound.wrote)
        if hop is not None:
            line = replace(line, delegation=await self._hand_over(record.call, principal, hop))
        try:
            return await self.catalog.invoke(record.call.method, target, params, line)
        except UpstreamRefused as refusal:
            said: Json = {"message": refusal.message, "data": refusal.data}
            if _redacts(record):
                said = {"message": f"`{target.connector}` refused; {WITHHELD}", "data": None}
            scene = Scene.of(principal, target, record.disguise)
            safe = await self.guards.screen(said, inward(target), scene, record.findings)
            refusal.message, refusal.data = safe["message"], safe["data"]
            self._remember(record, target, safe)
            raise

    async def _holder(self, principal: Principal, call: Call) -> Holder:
        """Whose pseudonyms a call reads and writes."""
        transaction = await self.transactions.of(principal, call)
        return Holder(principal.organisation, principal.subject, transaction, principal.agent.id)

    async def _screen_result(self, record: CallRecord, scene: Scene, body: Json) -> Json:
        """What may be handed out of a result; its transaction remembers what it has shown."""
        findings: list[Finding] = []
        try:
            body = await self.guards.screen(body, inward(scene.target), scene, findings)
        finally:
            add_new(record.findings, findings)
        body = _on_its_terms(record, body)
        self._remember(record, scene.target, body)
        return body

    async def _shrunk(self, call: Call, target: Target, params: Json, tokens: int) -> Json:
        """The request with the limit that is held for it, and the caller told where it wanted more."""
        form = FORMATS[call.method]
        asked = form.limit(params)
        if asked is not None and asked > tokens:
            await call.caller.notify(CLAMPED, {"max_tokens": tokens, "asked": asked})
        if asked == tokens:
            return params
        return form.limited(params, tokens, target.definition.get("limit", "max_completion_tokens"))

    async def _observe(self, record: CallRecord, principal: Principal, target: Target, params: Json) -> None:
        """Note what a request to a model shows of the agent that makes it, and whether that was attested."""
        if target.kind is not Kind.MODEL:
            return
        record.observed = observe(record.call, target, params)
        agent = principal.agent
        if agent.manifest is not None and agent.drift is None:
            names = {target.name, target.upstream_name, *target.definition["aliases"]}
            if why := record.observed.differs(agent.manifest, names):
                await self.journal.drifted(agent.id, why)

    def _remember(self, record: CallRecord, target: Target, body: Json) -> None:
        if record.turn is not None:
            record.seen = self.transactions.see(record.turn, target, meant(body, record.disguise))

    async def _hand_over(self, call: Call, principal: Principal, hop: Grant) -> str:
        parent = call.delegation or call.token
        token = await self.delegator.hand_over(principal, hop, parent, principal.scopes)
        return token.compact

    def _line(self, record: CallRecord, principal: Principal, target: Target) -> Line:
        call = record.call
        level = call.meta.get("io.modelcontextprotocol/logLevel")
        scene = Scene.of(principal, target, record.disguise)
        caller = ScreenedCaller(call.caller, self.guards, scene, record.findings, FORMATS.get(call.method))
        return Line(
            call_id=call.id,
            caller=MutedCaller(caller) if _redacts(record) else caller,
            organisation=principal.organisation,
            agent=principal.agent.id,
            wants_progress="progressToken" in call.meta,
            log_level=level if isinstance(level, str) else None,
            betas=_betas(call),
            meter=record.meter,
            trace={k: v for k in ("traceparent", "tracestate") if isinstance(v := call.meta.get(k), str)},
        )


@asynccontextmanager
async def _covered(record: CallRecord) -> AsyncGenerator[None]:
    """Let no refusal tell the caller what was put in the place of its pseudonyms."""
    try:
        yield
    except BrokerError as error:
        if record.disguise is not None:
            error.rephrase(record.disguise.covered)
        raise


def _with_guards(decision: Decision, findings: Sequence[Finding], approved: frozenset[str]) -> Decision:
    """The decision, if need be waiting for the humans that guards ask for."""
    asked = {f"guard/{f.rule}": f for f in findings if f.action is Action.APPROVE}
    consents = tuple(
        Consent(rule, finding.approver, f"`{finding.type}` at `{finding.place}`")
        for rule, finding in asked.items()
        if rule not in approved
    )
    if not consents or not (decision.permitted or decision.consents):
        return decision
    because = tuple(Because(consent.rule, consent.text) for consent in consents)
    hint = decision.hint or f"a `{consents[0].approver}` has to agree to what it holds"
    return replace(
        decision,
        permitted=False,
        because=because if decision.permitted else (*decision.because, *because),
        hint=hint,
        consents=(*decision.consents, *consents),
    )


def _denied(decision: Decision, principal: Principal, target: Target) -> Denied:
    return Denied(
        f"`{principal.agent.id}` may not use `{target.name}`",
        because=decision.because or (Because("default", "no rule permits it"),),
        hint=decision.hint,
    )


def _keep_within(record: CallRecord, quote: Quote) -> None:
    """Refuse what the rules that permit the call do not allow of it, before it is spent."""
    decision = record.decision
    if quote.bound and _redacts(record) and record.params.get("stream") is True:
        raise Denied(
            "a rule takes values out of this answer, and a stream has no places to find them in",
            because=decision.because if decision else (),
            hint="ask again without `stream`",
        )
    most = decision.obligations.max_cost if decision else None
    if decision and most is not None and quote.amount > most:
        raise Denied(
            f"this call may cost {_usd(quote.amount)}, and the rules that permit it allow {_usd(most)}",
            because=decision.because,
            hint="ask an operator of the broker for a higher `max_cost_usd`",
        )


def _betas(call: Call) -> tuple[str, ...]:
    """The names in a header such as `anthropic-beta`, which stand in one list."""
    said = call.meta.get(BETAS)
    return tuple(name.strip() for name in said.split(",")) if isinstance(said, str) else ()


def _usd(amount: MicroUSD) -> str:
    return f"{Decimal(amount) / 1_000_000:f} USD"


def _redacts(record: CallRecord) -> bool:
    return record.decision is not None and bool(record.decision.obligations.redact)


def _on_its_terms(record: CallRecord, body: Json) -> Json:
    """The result as the rules that permit the call let it be handed out."""
    terms = record.decision.obligations if record.decision else Obligations()
    if terms.redact:
        redactor = Redactor(terms.redact)
        body = redactor.released(body)
        record.redacted, record.withheld = redactor.removed, redactor.withheld
    return body


def _released(record: CallRecord, body: Json) -> Released:
    cost = record.settlement.amount if record.settlement else MicroUSD(0)
    root = record.root or record.call.id
    return Released(
        body,
        record.call.id,
        record.parent,
        root,
        cost,
        record.receipt,
        watermark=_watermark(record),
        notices=record.notices,
        clamped=_clamped(record),
        repeats=record.repeats.call if record.repeats else None,
    )


def _clamped(record: CallRecord) -> int | None:
    bound = record.quote.bound if record.quote else None
    asked = FORMATS[record.call.method].limit(record.params) if bound else None
    return bound.wrote if bound and asked is not None and bound.wrote < asked else None


def _watermark(record: CallRecord) -> Json | None:
    if record.principal is None or record.decision is None or not record.decision.obligations.watermark:
        return None
    return {"agent": record.principal.agent.id, "subject": record.principal.subject, "call": record.call.id}
