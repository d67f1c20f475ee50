"""What do the guards say to a text? `broker guard …` tries one, measures many, and takes exceptions."""

import getpass
import re
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of, run
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import Blocked, ConfigurationError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.allowances import Allowance
    from broker.guardrails.conduct import Conduct
    from broker.guardrails.evaluation import Rate, Seen
    from broker.guardrails.interface import Finding
    from broker.guardrails.scene import Scene
    from broker.settings import Settings

app = noun("Guards: check a text, evaluate a labelled file, except what is no finding.")

REFUSED = 3

Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The text; - or none for standard input.")]
File = Annotated[Path | None, typer.Option("--file", metavar="PATH", help="Read the text from a file.")]
Where = Annotated[
    str,
    typer.Option("--stage", help="arguments, result, tool-definition, prompt or completion."),
]
Tool = Annotated[str, typer.Option("--tool", help="The exposed name of the tool it comes from or goes to.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="A label of that tool; may be repeated.")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role of the caller; may be repeated.")]
Samples = Annotated[
    Path, typer.Argument(metavar="FILE", help="JSON lines with `text`, `label`, `kind`, `source`.")
]
Only = Annotated[str | None, typer.Option("--guard", help="Only the figures of this guard.")]
BySource = Annotated[bool, typer.Option("--by-source", help="Group by `source` instead of `kind`.")]


Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Of the finding, as the record has it.")]
Guard = Annotated[str, typer.Option("--guard", help="The guard that found it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why it is none; goes into the log.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Find it again.")]


@app.command()
def check(
    text: Text = None,
    *,
    file: File = None,
    stage: Where = "result",
    tool: Tool = "tool",
    label: Labels = None,
    role: Roles = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Screen a text as the broker would, and say what was found and what would be passed on."""
    from broker.edges.cli.trial_names import trial_disguise
    from broker.guardrails.scene import Stage
    from broker.guardrails.screen import Screen

    settings = configured(config).settings
    content = {"text": _given(text, file)}
    screen = Screen(settings.limits, _conduct(settings), b"broker guard check, which keeps nothing")
    findings: list[Finding] = []
    at, refusal = Stage(_one_of(stage, list(Stage))), None
    scene = replace(_scene(tool, label, role), disguise=trial_disguise())

    async def screened() -> dict[str, object]:
        return await screen.screen(content, at, scene, findings)

    passed = None
    try:
        passed = run(screened)["text"]
    except Blocked as blocked:
        refusal = blocked.message
    verdict = "blocked" if refusal else "changed" if passed != content["text"] else "passed"
    output = Output(as_json=as_json)
    if as_json:
        rows = [_row(finding) for finding in findings]
        output.item({"verdict": verdict, "findings": rows, "text": passed, "refusal": refusal}, "")
    else:
        columns = ("guard", "type", "action", "length", "via")
        output.rows(columns, [_row(finding) for finding in findings], empty="nothing was found")
        output.note(f"{verdict}: {refusal or passed}")
    if refusal:
        raise typer.Exit(REFUSED)


@app.command("eval")
def eval_(
    file: Samples,
    *,
    stage: Where = "result",
    guard: Only = None,
    by_source: BySource = False,
    tool: Tool = "tool",
    label: Labels = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Measure the guards over a labelled file: what is found, what should not be, and how long it takes.

    A rate of `benign` texts is one of false positives, any other is recall. Texts of a source that nobody
    had read when the rules were written tell what to expect elsewhere: see --by-source.
    """
    from broker.guardrails.armed import Armed
    from broker.guardrails.evaluation import latency, look, rates, read_samples
    from broker.guardrails.scene import Stage

    conduct = _conduct(configured(config).settings)
    guards = [one.detector.name for one in conduct.guards]
    chosen = guards if guard is None else [_one_of(guard, guards)]
    samples = list(read_samples(file))
    if not samples:
        raise ConfigurationError(f"{file}: holds no sample")
    at = Stage(_one_of(stage, list(Stage)))

    async def looked() -> "list[Seen]":
        return await look(Armed(conduct), samples, at, _scene(tool, label, None))

    seen = run(looked)
    rows = [_figures(rate) for rate in rates(seen, chosen, by_source=by_source)]
    took = {name: round(value, 3) for name, value in latency(seen).items()}
    output = Output(as_json=as_json)
    if as_json:
        output.item({"rates": rows, "latency": took}, "")
        return
    output.rows(
        ("guard", "label", "group", "found", "of", "rate", "from", "to"), rows, empty="no guard is in force"
    )
    output.note("  ".join(f"{name} {value}" for name, value in took.items()))


@app.command()
def allow(
    ctx: typer.Context,
    digest: Digest,
    *,
    guard: Guard,
    reason: Reason,
    withdraw: Withdraw = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say that a finding was none: the guard passes over exactly this text from now on, in every process.

    DIGEST is that of the finding in the record of a call (`broker calls show`). The text itself is not kept.
    """
    from broker.allowances import Allowance
    from broker.guardrails.registry import GUARDS

    name, by = _one_of(guard, sorted(GUARDS)), getpass.getuser()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise InvalidRequest(
            f"`{digest[:80]}` is no digest", hint="64 hexadecimal digits: `broker calls show` names them"
        )

    async def change(office: Office) -> None:
        if withdraw:
            await office.allowances.withdraw(name, digest, by=by, reason=reason)
        else:
            await office.allowances.allow(Allowance(name, digest, reason, by, int(time.time())))

    on_the_state(ctx, configured(config).settings, change)
    said = "found again" if withdraw else "no finding any more"
    Output(as_json=as_json).item(
        {"guard": name, "digest": digest, "allowed": not withdraw}, f"{digest[:12]}… is {said} of {name}"
    )


@app.command()
def allowed(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The exceptions, who made them and why."""

    async def look(office: Office) -> "Sequence[Allowance]":
        return await office.allowances.all()

    found = on_the_state(ctx, configured(config).settings, look)
    rows = [asdict(one) | {"at": datetime.fromtimestamp(one.at, UTC).isoformat()} for one in found]
    Output(as_json=as_json).rows(("guard", "digest", "by", "at", "reason"), rows, empty="no exceptions")


def _conduct(settings: "Settings") -> "Conduct":
    from broker.guardrails.conduct import load_conduct
    from broker.guardrails.registry import GUARDS
    from broker.policy.load import shipped_policies

    return load_conduct(policies_of(settings), shipped_policies(), GUARDS)


def _scene(tool: str, labels: "Sequence[str] | None", roles: "Sequence[str] | None") -> "Scene":
    from broker.guardrails.scene import Scene
    from broker.model import Kind, Target

    target = Target(Kind.TOOL, tool, "", tool, {}, labels=frozenset(labels or ()))
    return Scene(target, roles=frozenset(roles or ()))


def _given(text: str | None, file: Path | None) -> str:
    if text not in (None, "-") and file is not None:
        raise InvalidRequest("give a text or a file, not both")
    if file is None:
        return text if text not in (None, "-") else sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: is not UTF-8 text") from error


def _one_of(word: str, words: "Sequence[str]") -> str:
    from broker.documents import did_you_mean

    if word not in words:
        hint = did_you_mean(word, words) or f"possible: {', '.join(words)}"
        raise InvalidRequest(f"`{word}` is not known", hint=hint)
    return word


def _row(finding: "Finding") -> dict[str, object]:
    return {
        "guard": finding.guard,
        "type": finding.type,
        "action": finding.action,
        "would": finding.would,
        "length": finding.length,
        "via": finding.via or None,
    }


def _figures(rate: "Rate") -> dict[str, object]:
    low, high = rate.interval
    return {
        "guard": rate.guard,
        "label": rate.label,
        "group": rate.group or "(none)",
        "found": rate.found,
        "of": rate.total,
        "rate": round(rate.rate, 4),
        "from": round(low, 4),
        "to": round(high, 4),
    }
