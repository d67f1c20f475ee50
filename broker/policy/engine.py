"""May they? The decision point: live roles of every actor against the set in force.

Everything that a set and a catalogue fix is worked out once per chain of roles and then looked up.
A changed set or catalogue is a new snapshot, put in force by one assignment.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from broker import limits
from broker.errors import Because
from broker.model import Agent, Clock, Grant, Json, Principal, Situation, Target
from broker.policy.case import Trace
from broker.policy.compile import compile_sources
from broker.policy.interface import Decision
from broker.policy.load import load_sources
from broker.policy.rules import Rule
from broker.policy.selection import idle, selections
from broker.policy.snapshot import Snapshot

_CALM = Situation()

Fingerprint = tuple[tuple[str, int, int], ...]


class PolicyEngine:
    """Implements the port `Policy` over a folder of policies.

    Args:
        policies_dir: the folder.
        clock: Unix time in seconds.

    Raises:
        ConfigurationError: the folder holds a mistake; nothing is in force.
    """

    def __init__(self, policies_dir: Path, *, clock: Clock = time.time) -> None:
        self._folder = policies_dir
        self._fingerprint = _fingerprint(policies_dir)
        self._clock = clock
        self._now = Snapshot(compile_sources(load_sources(policies_dir)), (), clock)

    @property
    def version(self) -> str:
        """`sha256:` of the compiled set in force."""
        return self._now.compiled.version

    @property
    def roles(self) -> frozenset[str]:
        """The roles that are defined. An agent may have others; they permit nothing."""
        return self._now.compiled.roles

    def visible(self, principal: Principal, targets: Iterable[Target]) -> list[Target]:
        """The targets that every actor of the chain is shown, in the given order."""
        now = self._now
        listed = now.listed(principal)
        of = now.classes.of
        hops = principal.grants
        return [
            target
            for target in targets
            if (known := of[target.kind].get(target.name)) is not None
            and known[1] in listed
            and (known[0] is target or known[0] == target)
            and (not hops or limits.shows(hops, target))
        ]

    def sees(self, principal: Principal, target: Target) -> bool:
        """Whether one target is visible; agrees with `visible`."""
        now = self._now
        if principal.grants and not limits.shows(principal.grants, target):
            return False
        return now.classes.number(target) in now.listed(principal)

    def may_delegate(self, by: Agent, to: Agent) -> bool:
        """Whether some role of `by` may delegate to `to`, by its name, one of its roles, or to all."""
        delegates = self._now.compiled.delegates
        names = {"*", to.id, *to.roles}
        return any(not names.isdisjoint(delegates.get(role, ())) for role in by.roles)

    def decide(
        self, principal: Principal, target: Target, params: Json, situation: Situation = _CALM
    ) -> Decision:
        """Whether every actor of the chain may make this call now, within the limits of every hop."""
        if principal.grants:
            beyond = limits.permits(principal.grants, target, params)
            if beyond is not None:
                return self._beyond(principal.grants, beyond)
        return self._now.decide(principal, target, params, situation)

    def explain(
        self, principal: Principal, target: Target, params: Json, situation: Situation = _CALM
    ) -> list[Trace]:
        """What each rule says about a call, shadow rules included, actor by actor.

        Raises:
            UnreadableCallError: a declared argument is not what was declared.
            ValueError: Cedar gave no answer.
        """
        return self._now.explain(principal, target, params, situation)

    @property
    def rules(self) -> Sequence[Rule]:
        """Every rule in force and in the shadow, with its Cedar text, in order."""
        return tuple(self._now.compiled.rules.values())

    @property
    def schema(self) -> str:
        """The schema in force, with the types of the declared arguments."""
        return self._now.compiled.schema_text

    def _beyond(self, hops: Sequence[Grant], because: Because) -> Decision:
        hint = f"ask `{hops[0].by}`, which delegated to you, to make this call"
        return Decision(permitted=False, because=(because,), policy=self.version, hint=hint)

    def retarget(self, targets: Sequence[Target]) -> None:
        """Take note of what exists. Whatever is not among `targets` is refused from now on."""
        self._now = Snapshot(self._now.compiled, targets, self._clock)

    def reload(self) -> None:
        """Read the folder again and put it in force as a whole.

        Raises:
            ConfigurationError: it holds a mistake; the set in force stays in force.
        """
        self._now = Snapshot(compile_sources(load_sources(self._folder)), self._now.targets, self._clock)

    def changed(self) -> bool:
        """Whether anything in the folder was added, removed or written since the last look.

        It may be a file that is not about policy, such as the facts in `tools/`.
        """
        before, self._fingerprint = self._fingerprint, _fingerprint(self._folder)
        return self._fingerprint != before

    def warnings(self) -> list[str]:
        """What the policies name and nothing offers now, with file and line."""
        return list(idle(self._now.compiled, self._now.targets))

    def permitting_roles(self, target: Target) -> list[str]:
        """The roles with an entry for a target: for operators, never for a caller."""
        chosen = set(selections(self._now.compiled.allowances, target))
        return sorted({a.role for a in self._now.compiled.allowances if a.id in chosen})


def _fingerprint(folder: Path) -> Fingerprint:
    try:
        stats = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    except OSError:
        return ()
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)
