"""Which targets exist now, and how is one invoked? All connectors behind one set of names."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import anyio

from broker.catalog.mount import Mount, OperatorFacts
from broker.catalog.pins import Admitted, Approvals
from broker.catalog.results import expose_result
from broker.catalog.templates import matcher
from broker.connector import Line, Offer, Request
from broker.errors import BrokerError
from broker.model import Answer, Call, Json, Kind, Method, SideEffect, Target

logger = logging.getLogger("broker.catalog")

OPEN_WITHIN_S = 20.0
RETRY_AFTER_S = (1.0, 2.0, 5.0, 15.0, 60.0)

Changed = Callable[[Sequence[Target], frozenset[Kind]], None]
"""Told all targets, and the kinds that differ from before."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What exists at one moment. Replaced as a whole, so that a reader never sees half a change."""

    version: int = 0
    by_kind: Mapping[Kind, tuple[Target, ...]] = field(default_factory=dict[Kind, tuple[Target, ...]])
    by_name: Mapping[tuple[Kind, str], Target] = field(default_factory=dict[tuple[Kind, str], Target])
    templates: tuple[tuple[Callable[[str], bool], Target], ...] = ()
    by_alias: Mapping[tuple[str, str], Target] = field(default_factory=dict[tuple[str, str], Target])
    """Models by their other names, for each format: an alias may mean one model of every provider."""


class LiveCatalog:
    """The catalogue of a running broker: it opens the connectors and follows what they offer.

    Args:
        mounts: the enabled connectors.
        facts: the operator's facts about tools.
        approvals: says which definitions may be served.
        changed: called synchronously whenever what exists has changed.
    """

    def __init__(
        self,
        mounts: Sequence[Mount],
        *,
        facts: OperatorFacts,
        approvals: Approvals,
        changed: Changed,
    ) -> None:
        self._mounts = {mount.name: mount for mount in mounts}
        self._facts = facts
        self._approvals = approvals
        self._changed = changed
        self._now = _Snapshot()
        self._admitting = anyio.Lock()
        self._stale = {mount.name: anyio.Event() for mount in mounts}

    @property
    def version(self) -> int:
        """Grows with every change of what exists."""
        return self._now.version

    @property
    def mounts(self) -> Sequence[Mount]:
        """The connectors, with their state, for operators."""
        return list(self._mounts.values())

    def targets(self, kind: Kind) -> Sequence[Target]:
        """All targets of one kind, by name."""
        return self._now.by_kind.get(kind, ())

    def find(self, call: Call) -> Target | None:
        """The target a call names; a URI that is not listed is looked for among the templates."""
        now = self._now
        match call.method:
            case Method.CALL_TOOL:
                return now.by_name.get((Kind.TOOL, call.name))
            case Method.GET_PROMPT:
                return now.by_name.get((Kind.PROMPT, call.name))
            case Method.READ_RESOURCE:
                return self.find_resource(call.name)
            case Method.COMPLETE:
                kind = Kind.PROMPT if _refers_to_prompt(call.params) else Kind.TEMPLATE
                return now.by_name.get((kind, call.name))
            case _:  # of models
                return now.by_name.get((Kind.MODEL, call.name)) or now.by_alias.get((call.method, call.name))

    def find_resource(self, uri: str) -> Target | None:
        """The resource with this outside URI, or the template that it comes from."""
        now = self._now
        if listed := now.by_name.get((Kind.RESOURCE, uri)):
            return listed
        return next((target for matches, target in now.templates if matches(uri)), None)

    async def invoke(self, method: Method, target: Target, params: Json, line: Line) -> Answer:
        """Have the target's connector do it; names and URIs are mapped both ways.

        Raises:
            UpstreamError: unreachable, refused or lost. BrokerError: what a guard raised on the line.
        """
        mount = self._mounts[target.connector]
        request = Request(method, _outbound(method, target, params, mount))
        # What a model was asked is paid for: it is not asked again, though it changes nothing.
        reads = target.side_effect is SideEffect.READS and target.kind is not Kind.MODEL
        answer = await mount.delivery.deliver(request, _within(line, mount.timeout_s), reads=reads)
        if not mount.names.prefix or target.kind is Kind.MODEL:
            return answer
        return Answer(expose_result(answer.body, mount.names.exposed_uri), answer.cost)

    async def watch(self, target: Target, uri: str, *, on: bool) -> None:
        """Begin or stop to hear of changes of a resource, by its outside URI."""
        mount = self._mounts[target.connector]
        upstream_uri = mount.names.upstream_uri(uri)
        if upstream_uri is not None and mount.offer.watches:
            await (mount.upstream.watch(upstream_uri) if on else mount.upstream.unwatch(upstream_uri))

    def stale(self, name: str) -> None:
        """Say that a connector's offer has changed; it will be asked again."""
        self._stale[name].set()

    def refacts(self, facts: OperatorFacts) -> None:
        """Take other operator facts (prices, labels) into use."""
        self._facts = facts
        self._publish()

    async def readmit(self) -> None:
        """Judge what the connectors offered once more, after an operator has approved something.

        Raises:
            StorageUnavailable: what was approved cannot be read.
        """
        for mount in self._mounts.values():
            await self._admit(mount)
        self._publish()

    @asynccontextmanager
    async def running(self, open_mount: Callable[[Mount], Any]) -> AsyncGenerator[None]:
        """Open all connectors, follow them, and close them in the end.

        Entering waits until each has answered or failed once, so that the first caller sees what
        there is. One that cannot be reached is tried again, further and further apart.
        """
        ready = {name: anyio.Event() for name in self._mounts}
        async with anyio.create_task_group() as tasks:
            for mount in self._mounts.values():
                tasks.start_soon(self._follow, mount, open_mount, ready[mount.name])
            for event in ready.values():
                await event.wait()
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _follow(self, mount: Mount, open_mount: Callable[[Mount], Any], ready: anyio.Event) -> None:
        failures = 0
        try:
            while True:
                if await self._refresh(mount, open_mount):
                    failures = 0
                    ready.set()
                    await self._stale[mount.name].wait()
                else:
                    ready.set()
                    wait_s = RETRY_AFTER_S[min(failures, len(RETRY_AFTER_S) - 1)]
                    failures += 1
                    with anyio.move_on_after(wait_s):
                        await self._stale[mount.name].wait()
                self._stale[mount.name] = anyio.Event()
        finally:
            with anyio.CancelScope(shield=True):
                await _close(mount)

    async def _refresh(self, mount: Mount, open_mount: Callable[[Mount], Any]) -> bool:
        try:
            with anyio.fail_after(OPEN_WITHIN_S):
                if not mount.opened:
                    await open_mount(mount)
                    mount.opened = True
                offer = await mount.upstream.offer()
                await self._admit(mount, offer)
        except (BrokerError, TimeoutError) as error:
            problem = error.message if isinstance(error, BrokerError) else "did not answer in time"
        except Exception:
            logger.exception("connector %s failed to offer", mount.name)
            problem = "failed; the server's log says how"
        else:
            mount.problem = None
            self._publish()
            return True
        if mount.problem != problem:
            logger.warning("connector %s offers nothing: %s", mount.name, problem)
        # A known offer is kept: its tools answer `unreachable` rather than vanish.
        mount.problem = problem
        return False

    async def _admit(self, mount: Mount, news: Offer | None = None) -> None:
        """Take what may be served of the last offer, or of a new one. One at a time: the last word holds."""
        async with self._admitting:
            offer, listed = (news, news.tools) if news else (mount.offer, mount.listed)
            admitted = await self._approvals.admit(mount.name, listed, mount.names.exposed, ask=mount.ask)
            self._take(mount, offer, listed, admitted)

    def _take(self, mount: Mount, offer: Offer, listed: Sequence[Json], admitted: Admitted) -> None:
        for pin in admitted.waiting:
            if pin not in mount.waiting:
                serves = "as it was approved" if pin.serves else "not at all"
                logger.warning("tool `%s` of %s is served %s: %s", pin.tool, mount.name, serves, pin.because)
        mount.offer = replace(offer, tools=admitted.tools)
        mount.listed, mount.waiting = listed, admitted.waiting

    def _publish(self) -> None:
        before, now = self._now, _snapshot(self._mounts.values(), self._facts, self._now.version + 1)
        differs = frozenset(kind for kind in Kind if _definitions(before, kind) != _definitions(now, kind))
        self._now = now
        self._changed([target for targets in now.by_kind.values() for target in targets], differs)


def _snapshot(mounts: Any, facts: OperatorFacts, version: int) -> _Snapshot:
    by_name: dict[tuple[Kind, str], Target] = {}
    for mount in cast("Sequence[Mount]", mounts):
        for target in mount.targets(facts):
            taken = by_name.setdefault((target.kind, target.name), target)
            if taken is not target:
                logger.warning(
                    "%s `%s` of %s is left out: %s offers that name already",
                    target.kind,
                    target.name,
                    target.connector,
                    taken.connector,
                )
    ordered = sorted(by_name.values(), key=lambda target: target.name)
    by_kind = {kind: tuple(t for t in ordered if t.kind is kind) for kind in Kind}
    templates = tuple((matcher(t.name), t) for t in by_kind[Kind.TEMPLATE])
    return _Snapshot(version, by_kind, by_name, templates, _aliases(by_kind[Kind.MODEL]))


def _aliases(models: Sequence[Target]) -> Mapping[tuple[str, str], Target]:
    """Models by format and other name; whoever is first in the order of names has one."""
    by_alias: dict[tuple[str, str], Target] = {}
    for target in models:
        for alias in target.definition["aliases"]:
            takers = {by_alias.setdefault((method, alias), target) for method in target.definition["methods"]}
            for taken in takers - {target}:
                logger.warning("`%s` means %s, not %s as well", alias, taken.name, target.name)
    return by_alias


def _definitions(snapshot: _Snapshot, kind: Kind) -> list[Json]:
    return [target.definition for target in snapshot.by_kind.get(kind, ())]


def _outbound(method: Method, target: Target, params: Json, mount: Mount) -> Json:
    """The parameters in the upstream's terms. Nothing is ever added to `arguments`."""
    match method:
        case Method.CALL_TOOL | Method.GET_PROMPT:
            return {**params, "name": target.upstream_name}
        case Method.READ_RESOURCE:
            return {**params, "uri": mount.names.upstream_uri(params["uri"])}
        case Method.COMPLETE:
            key = "name" if _refers_to_prompt(params) else "uri"
            return {**params, "ref": {**params["ref"], key: target.upstream_name}}
        case _:  # of models
            return {**params, "model": target.upstream_name}


def _refers_to_prompt(params: Json) -> bool:
    ref = params.get("ref")
    return isinstance(ref, dict) and cast("Json", ref).get("type") == "ref/prompt"


async def _close(mount: Mount) -> None:
    if not mount.opened:
        return
    try:
        with anyio.move_on_after(10):
            await mount.upstream.close()
    except Exception:
        logger.exception("connector %s failed to close", mount.name)


def _within(line: Line, timeout_s: float) -> Line:
    """The line with its connector's time limit; most have the default, and copying costs."""
    return line if line.timeout_s == timeout_s else replace(line, timeout_s=timeout_s)
