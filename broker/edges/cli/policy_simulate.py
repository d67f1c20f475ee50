"""What would a changed policy have done? `broker policy simulate` replays recorded calls under it."""

import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import orjson
import typer

from broker.edges.cli.composition import Office, configured, on_the_state, policies_of, run
from broker.edges.cli.durations import seconds
from broker.edges.cli.ink import Ink
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import folder_of, loaded_policies
from broker.errors import ConfigurationError, InvalidRequest
from broker.model import Json

if TYPE_CHECKING:
    from broker.policy.simulate import Difference, Group, Simulation, Tally, Unjudged

Changed = Annotated[Path, typer.Option("--policies", metavar="DIR", help="The changed policies.")]
Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="EXPORT", help="What `broker audit export` wrote [the log here]."),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME|DURATION", help="Calls from then on, e.g. 7d.")
]

_LOOK_S = 0.2


def simulate(
    ctx: typer.Context,
    *,
    policies: Changed,
    against: Against = None,
    since: Since = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Replay recorded calls under changed policies and say what would differ. Nothing is put in force.

    Each call is judged with the roles, labels, trust, taint and origins that it had.
    """
    settings = configured(config).settings
    simulation = _simulation(folder_of(policies, settings), policies_of(settings))
    start = None if since is None else _start(since)
    if against is not None:
        tally = run(lambda: _replayed(simulation, _exported(against, start)))
    else:

        async def work(office: Office) -> "Tally":
            return await _replayed(simulation, _logged(office, start))

        tally = on_the_state(ctx, settings, work)
    _report(Output(as_json=as_json), tally)


def _simulation(changed: Path, present: Path) -> "Simulation":
    """The changed policies beside those in force, if these can be read."""
    from broker.catalog.facts import load_facts
    from broker.catalog.retold import retold
    from broker.policy.compile import compile_sources
    from broker.policy.load import load_sources
    from broker.policy.simulate import Simulation

    loaded_policies(changed)
    now = compile_sources(load_sources(present))
    facts = retold(load_facts(present), load_facts(changed))
    return Simulation(compile_sources(load_sources(changed)), now, facts)


@dataclass(frozen=True, slots=True)
class _Read:
    """One record, and how far the reading is: `done` of `of`."""

    body: bytes
    done: int
    of: int


async def _logged(office: Office, start: str | None) -> AsyncIterator[_Read]:
    """The beginnings and refusals of calls in all logs of the deployment."""
    from broker.audit.interface import Event, Filter

    wanted = Filter(events=frozenset({Event.CALL_INTENT, Event.CALL_DENIED}))
    heads = await office.store.log.logs()
    whole, before = sum(head.size for head in heads), 0
    for head in heads:
        async for record in office.store.log.records(head.name, wanted):
            if start is None or _time_of(record.body) >= start:
                yield _Read(record.body, before + record.seq + 1, whole)
        before += head.size


async def _exported(place: Path, start: str | None) -> AsyncIterator[_Read]:
    """The same out of an export."""
    from broker.audit.offline import Export

    try:
        export = Export(place)
        names = sorted(name for name in export.names() if name.endswith("/records.jsonl"))
        if not names:
            raise ConfigurationError(f"`{place}` is no export", hint="`broker audit export --out` makes one")
        for at, name in enumerate(names):
            with export.open(name) as file:
                for line in file:
                    relevant = b'"type":"call.intent"' in line or b'"type":"call.denied"' in line
                    if relevant and (start is None or _time_of(line) >= start):
                        yield _Read(line, at, len(names))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"`{place}` is no export that can be read") from error


def _time_of(body: bytes) -> str:
    return str(cast("Json", orjson.loads(body))["ts"])


async def _replayed(simulation: "Simulation", records: AsyncIterator[_Read]) -> "Tally":
    from broker.circumstances import recalled
    from broker.policy.simulate import Tally

    tally = Tally()
    progress = _Progress()
    async with aclosing(cast("Any", records)) as found:
        async for record in cast("AsyncIterator[_Read]", found):
            past = recalled(cast("Json", orjson.loads(record.body)))
            if past is None:
                tally.silent += 1
            else:
                tally.add(simulation.judge(past))
            progress.told(record.done, record.of, tally.judged + tally.silent)
    progress.end()
    return tally


class _Progress:
    """A bar on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def told(self, done: int, of: int, calls: int) -> None:
        """Draw it anew, a few times a second."""
        if not self._shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_S
        width = 30 * done // max(of, 1)
        bar = f"[{'█' * width}{'·' * (30 - width)}] {calls:,} calls"
        print(f"\r\x1b[K{bar}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take it away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _start(text: str) -> str:
    """A time as it stands in records: of a time, or of a duration before now."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.fromtimestamp(time.time() - seconds(text), UTC)
        except InvalidRequest:
            raise InvalidRequest(
                f"`{text}` is neither a time nor a duration", hint="write 2026-01-31T12:00:00Z or 7d"
            ) from None
    given = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{given.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _report(output: Output, tally: "Tally") -> None:
    differences = sorted(tally.differences.items(), key=lambda each: -each[1].count)
    unjudged = sorted(tally.unjudged.items(), key=lambda each: -each[1].count)
    otherwise, open_ = _sum(tally.differences.values()), _sum(tally.unjudged.values())
    if output.as_json:
        data: Json = {
            "calls": tally.judged + tally.silent,
            "otherwise": otherwise,
            "same": tally.judged - otherwise - open_,
            "unjudged": open_,
            "without_decision": tally.silent,
            "differences": [_difference(found, group) for found, group in differences],
            "cannot_be_judged": [_unjudged(found, group) for found, group in unjudged],
        }
        output.item(data, "")
        return
    if differences:
        rows = [_difference(found, group) for found, group in differences]
        output.rows(("calls", "agent", "target", "before", "after", "rules", "examples"), rows, empty="")
        output.item(None, "")
    if unjudged:
        rows = [_unjudged(found, group) for found, group in unjudged]
        output.rows(("calls", "agent", "target", "not_recorded", "rules", "examples"), rows, empty="")
        output.item(None, "")
    output.item(None, "\n".join(_sums(tally, otherwise, open_, output.ink)))


def _sums(tally: "Tally", otherwise: int, open_: int, ink: Ink) -> Iterator[str]:
    total = tally.judged + tally.silent
    yield f"{total:,} calls: {ink('bold', f'{otherwise:,} would be decided otherwise')}"
    yield f"{tally.judged - otherwise - open_:,} would be decided as they were"
    if open_:
        yield f"{open_:,} cannot be judged: a rule looks at an argument whose value is not in the log"
    if tally.silent:
        yield f"{tally.silent:,} named what did not exist for the agent, so nothing was decided about them"


def _sum(groups: "Sequence[Group] | Any") -> int:
    return sum(group.count for group in groups)


def _difference(found: "Difference", group: "Group") -> Json:
    return {
        "calls": group.count,
        "agent": found.agent,
        "target": found.target,
        "before": found.before,
        "after": found.after,
        "rules": list(found.rules),
        "examples": group.calls,
    }


def _unjudged(found: "Unjudged", group: "Group") -> Json:
    return {
        "calls": group.count,
        "agent": found.agent,
        "target": found.target,
        "not_recorded": list(found.what),
        "rules": list(found.rules),
        "examples": group.calls,
    }
