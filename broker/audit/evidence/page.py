"""How does a human read a pack? One page that loads nothing and runs nothing, on screen, phone and paper."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from broker.audit.evidence.mapping import INCIDENTS, LINES, PEOPLE, status
from broker.audit.evidence.sections import SECTIONS
from broker.audit.evidence.tally import Tally
from broker.audit.interface import Event

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --paper: #fff; --line: #d0d7de;
  --bar: #2563a8; font: 15px/1.5 system-ui, sans-serif }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #9aa4af; --paper: #14171b;
  --line: #333b44; --bar: #6cb0f5 } }
body { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem; color: var(--ink); background: var(--paper) }
h1 { line-height: 1.2; margin: 0 0 .5rem } h2 { margin: 2rem 0 .5rem; font-size: 1.2rem }
.dim, figcaption { color: var(--dim) } code { font-size: .9em; overflow-wrap: anywhere }
.wide { overflow-x: auto } figure { margin: 1rem 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { min-width: 3.5rem; text-align: left;
  vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom:
  1px solid var(--line) }
td:nth-child(5):not(:last-child) { min-width: 9rem }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 1px;
  margin: 1.5rem 0; padding: 0; background: var(--line); border: 1px solid var(--line);
  border-radius: 6px; overflow: hidden }
.figures div { background: var(--paper); padding: .6rem .8rem } .figures dd { margin: 0; font-size: 1.4rem }
.figures div { display: flex; flex-direction: column-reverse }
.figures dt { color: var(--dim); font-size: .85rem }
.charts { display: grid; gap: 0 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)) }
svg { width: 100%; height: auto; max-width: 34rem; display: block }
svg text { fill: var(--ink); font-size: 13px } svg rect { fill: var(--bar) }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --dim: #444; --line: #999;
  --bar: #2563a8 }
  body { max-width: none } figure, tr { break-inside: avoid } .wide { overflow: visible } }
"""
_LOADS_NOTHING = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
_SAID = (
    "<p>This page is a summary and proves nothing by itself. <code>python3 -I verify.py PACK</code> checks "
    "what it was made from. What is listed is <em>evidence for</em> a requirement; whether the requirement "
    "is met is for people to judge.</p>"
)
_MOST_BARS = 12
_MOST_AGENTS = 50
_NAME, _WIDTH, _ROW = 170, 480, 24
"""Pixels of the drawing: where bars begin, its width, the height of a row."""


def report(
    scope: Mapping[str, Any], tally: Tally, counts: dict[str, int], agents: Sequence[Mapping[str, Any]]
) -> bytes:
    """The page. Every text of the log is escaped: whoever named an agent or a tool cannot write into it."""
    title = f"Evidence from {scope['from'] or 'the beginning'} to {scope['to'] or 'the end of the log'}"
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        _LOADS_NOTHING,
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(_about(scope, tally))}</p>',
        _SAID,
        _figures(tally, counts),
        '<div class="charts">',
        _chart("How calls ended", tally.by_outcome(), "calls"),
        _chart("Calls on each day", _days(tally), "calls", by_name=True),
        _chart("What guards found", _guards(tally), "findings"),
        _chart("Spend by agent", tally.by_agent(), "US dollars", micro=True),
        "</div>",
        _logs(scope["logs"]),
        _inventory(agents),
        "<h2>What is in the pack</h2>",
        _table(("File", "What it holds", "Entries"), [(s.file, s.title, counts[s.file]) for s in SECTIONS]),
        "<h2>Evidence for requirements</h2>",
        _table(
            ("Framework", "Requirement", "Evidence for", "Files", "Applies from", "Left to people", "State"),
            [
                (
                    x.framework,
                    x.requirement,
                    x.subject,
                    ", ".join(x.files),
                    x.applies,
                    x.left,
                    status(x, counts).replace("_", " "),
                )
                for x in LINES
            ],
        ),
        "</main></body></html>\n",
    ]
    return "\n".join(parts).encode()


def _about(scope: Mapping[str, Any], tally: Tally) -> str:
    whose = f"organisation {scope['organisation']}" if scope["organisation"] else "all organisations"
    return f"{whose}; {tally.records:,} records; deployment {scope['deployment']}"


def _logs(logs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            log["name"],
            f"{log['first']:,} to {log['end'] - 1:,}" if log["end"] > log["first"] else "none",
            f"{log['size']:,}",
            f"{log['pruned']:,}",
            log["root"][:16] + "…",
        )
        for log in logs
    ]
    heads = ("Log", "Records in the pack", "Records in the log", "Only as hashes", "Root")
    return f"<h2>Logs</h2>\n{_table(heads, rows)}"


def _figures(tally: Tally, counts: Mapping[str, int]) -> str:
    """What a reader asks first."""
    ended = tally.by_outcome()
    told = (
        ("calls", sum(ended.values())),
        ("of them refused", tally.events[Event.CALL_DENIED]),
        ("US dollars spent", _number(sum(tally.by_agent().values()), micro=True)),
        ("found by guards", sum(tally.guards.values())),
        ("decided by humans", counts[PEOPLE]),
        ("may be incidents", counts[INCIDENTS]),
    )
    shown = (f"{number:,}" if isinstance(number, int) else number for _, number in told)
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{number}</dd></div>"
        for (name, _), number in zip(told, shown, strict=True)
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def _inventory(agents: Sequence[Mapping[str, Any]]) -> str:
    """Who could act when the pack was written; the rest is in the file."""
    rows = [
        (
            agent["agent"],
            agent["organisation"],
            agent["owner"] or "",
            ", ".join(agent["roles"]),
            " ".join(filter(None, (agent["model"], agent["model_version"]))),
            agent["attestation"],
            agent["status"],
        )
        for agent in agents[:_MOST_AGENTS]
    ]
    heads = ("Agent", "Organisation", "Owner", "Roles", "Model", "Attested", "Status")
    more = len(agents) - len(rows)
    said = f'<p class="dim">{more:,} further are in inventory/agents.json.</p>' if more else ""
    return f"<h2>Agents when this was written</h2>\n{_table(heads, rows)}{said}"


def _days(tally: Tally) -> dict[str, int]:
    days: dict[str, int] = {}
    for (day, _), count in tally.outcomes.items():
        days[day] = days.get(day, 0) + count
    return days


def _guards(tally: Tally) -> dict[str, int]:
    found: dict[str, int] = {}
    for (guard, _, action), count in tally.guards.items():
        name = f"{guard}: {action}"
        found[name] = found.get(name, 0) + count
    return found


def _chart(
    title: str, values: Mapping[str, int], unit: str, *, by_name: bool = False, micro: bool = False
) -> str:
    """Bars with their numbers beside them; the newest or largest few, and how many there are besides."""
    heading = f"<h2>{escape(title)}</h2>"
    ranked = sorted(values.items()) if by_name else sorted(values.items(), key=lambda i: (-i[1], i[0]))
    shown = ranked[-_MOST_BARS:] if by_name else ranked[:_MOST_BARS]
    if not shown:
        return f"<section>{heading}\n<p>None in this period.</p></section>"
    most = max(value for _, value in shown) or 1
    bars = [_bar(n, name, value, most, micro=micro) for n, (name, value) in enumerate(shown)]
    left = len(ranked) - len(shown)
    more = f"; {left} further are in the files" if left else ""
    said = ", ".join(f"{name} {_number(value, micro=micro)}" for name, value in shown)
    return (
        f'<section>{heading}\n<figure><svg viewBox="0 0 {_WIDTH} {len(shown) * _ROW}" role="img" '
        f'aria-label="{escape(f"{title}: {said}")}">{"".join(bars)}</svg>'
        f"<figcaption>{escape(unit + more)}</figcaption></figure></section>"
    )


def _bar(row: int, name: str, value: int, most: int, *, micro: bool) -> str:
    top, room = row * _ROW, _WIDTH - _NAME - 80
    width = max(value * room // most, 1 if value else 0)
    short = name if len(name) <= 20 else f"{name[:19]}…"
    return (
        f'<text x="0" y="{top + 16}">{escape(short)}</text>'
        f'<rect x="{_NAME}" y="{top + 4}" width="{width}" height="15" rx="2"/>'
        f'<text x="{_NAME + width + 8}" y="{top + 16}">{_number(value, micro=micro)}</text>'
    )


def _number(value: int, *, micro: bool) -> str:
    return f"{value / 1_000_000:,.6f}".rstrip("0").rstrip(".") if micro else f"{value:,}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>\n" for row in rows)
    label = escape(f"Table: {heads[0]}")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )
