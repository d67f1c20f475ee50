"""How is a person told what is kept about them? As data that a machine can take on, and as a page to read."""

import html as markup
import json
from collections.abc import Sequence
from pathlib import Path

from broker.audit.payloads import About
from broker.edges.cli.ink import visible
from broker.edges.payloads import payload_facts
from broker.errors import ConfigurationError
from broker.model import Json

_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>What is kept about you</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid; padding: .5rem }
dt { font-weight: 600 }
</style>
<h1>What is kept about you</h1>
"""
_TOLD = (
    ("When", "ts"),
    ("Which call", "call"),
    ("What for", "what"),
    ("Which program", "agent"),
    ("Outcome", "outcome"),
)


def as_data(found: Sequence[About]) -> Json:
    """Everything about a person, as data (GDPR 20: structured, commonly used, machine-readable)."""
    return {
        "subjects": [
            {
                "subject": one.subject.id,
                "organisation": one.subject.log,
                "identity": one.subject.identity,
                "known_since": one.subject.created_at,
            }
            for one in found
        ],
        "records": [
            {"organisation": one.subject.log, "record": json.loads(body)}
            for one in found
            for _, body in one.records
            if body  # one whose time is over has left only its hash
        ],
        "payloads": [payload_facts(payload) for one in found for payload in one.payloads],
    }


def as_page(data: Json, *, html: bool) -> str:
    """The same to read (GDPR 15), as a web page or as plain text."""
    payloads = {(one["call"], one["part"]): one for one in data["payloads"]}
    blocks = [_block(entry["record"], payloads, html=html) for entry in data["records"]]
    who = ", ".join(str(one["identity"] or one["subject"]) for one in data["subjects"])
    if html:
        return f"{_HEAD}<p>{markup.escape(who)}: {len(blocks)} records</p>\n{''.join(blocks)}</html>\n"
    return "\n\n".join([visible(who), *blocks])


def write_new(folder: Path, data: Json) -> None:
    """Write both into a new folder, readable by its owner alone.

    Raises:
        ConfigurationError: it is there already, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
        for name, text in (
            ("subject.json", json.dumps(data, ensure_ascii=False, indent=2) + "\n"),
            ("subject.html", as_page(data, html=True)),
        ):
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write `{folder}`: {error.strerror}", hint="name a folder that is new"
        ) from error


def _block(record: Json, payloads: dict[tuple[str, str], Json], *, html: bool) -> str:
    told = [(label, _plain(record[key])) for label, key in _TOLD if key in record]
    part = "result" if "result" in record else "arguments"
    payload = payloads.get((str(record.get("call")), part), {})
    said = "not kept"
    if "content" in payload:
        said = json.dumps(payload["content"], ensure_ascii=False, indent=2)
    if not html:
        return "\n".join(
            [*(f"{label:14} {visible(text)}" for label, text in told), f"{part:14} {visible(said)}"]
        )
    rows = "".join(f"<dt>{label}<dd>{markup.escape(text)}" for label, text in told)
    return f"<hr><dl>{rows}<dt>{part.capitalize()}<dd><pre>{markup.escape(said)}</pre></dl>\n"


def _plain(value: object) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - JSON
