"""How is a pack of evidence written? As an export with more files in it, under a signed manifest.

What grows with the log is streamed: a pass for all counts, and one for each file of records. The same
logs, period and facts give the same bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from broker.audit import offline
from broker.audit.checkpoint import Checkpoint, PastKey, Signer
from broker.audit.evidence.mapping import RECORDS, mapping_csv
from broker.audit.evidence.page import report
from broker.audit.evidence.sections import SECTIONS, Section, line_of
from broker.audit.evidence.tally import Tally, table
from broker.audit.export import Files, Folder, Progress, Range, Zip, write_logs, write_manifest
from broker.audit.interface import SYSTEM_LOG, Event, Filter, LogHead, LogReader

VERSION = 1
HOW = b"""# How to check this pack

    python3 -I verify.py PACK.zip --key KEY

needs Python 3.9 or newer and nothing else. Take `verify.py` and the keys from somebody you trust, not from
the pack: whoever can make up a pack can put their own key in it. `broker audit keys` prints the keys.

Checked are the signature over `manifest.json`, the SHA-256 of every file, the Merkle trees and signed
checkpoints, and what the records say. `report.html` is a summary of the same files. `mapping.csv` says which
file is evidence for which requirement; that a requirement is met is for people to say.

Nothing of what was said in calls is in a pack: no arguments, no results. Erasures and access requests are in
`privacy/requests.jsonl`, by pseudonym. `inventory/` and `privacy/art30.json` are as of when it was written.
"""

_POLICIES = frozenset({Event.POLICY_CHANGED, Event.POLICY_TEXT})


@dataclass(frozen=True, slots=True)
class Known:
    """What the log does not hold: facts of the deployment when the pack is written, as JSON.

    Args:
        agents: the agents with their attestation.
        policies: the policies in force: their version, and each file's text by name.
        art30: the register of processing (GDPR 30), as far as a machine knows it.
    """

    deployment: str
    organisation: str | None = None
    agents: Sequence[Mapping[str, Any]] = ()
    policies: Mapping[str, Any] = field(default_factory=dict[str, Any])
    art30: Mapping[str, Any] = field(default_factory=dict[str, Any])


async def pack(
    log: LogReader,
    signed: Sequence[tuple[LogHead, str]],
    into: Folder | Zip,
    *,
    signer: Signer,
    wanted: Range,
    known: Known,
    progress: Progress,
    past: Sequence[PastKey] = (),
) -> dict[str, int]:
    """Write a pack of these logs up to their signed checkpoints; how many entries are in which file.

    Args:
        log: where the records are.
        signed: the logs, at least one, each with the signed note up to which it goes.
        into: where the files go.
        signer: signs the manifest, for the first of the logs.
        wanted: the period.
        known: what the log does not hold.
        progress: told how far it is.
        past: keys that signed before, which are believed too.

    Raises:
        ConfigurationError: the files cannot be written.
    """
    files = Files(into)
    logs = await write_logs(
        log, signed, files, public=signer.public, past=past, wanted=wanted, progress=progress
    )
    tally = await _tally(log, logs)
    counts = {section.file: await _section(log, logs, section, files) for section in SECTIONS}
    counts[RECORDS] = tally.records
    versions, texts = await _policies(log, logs)
    in_use = {digest for version in versions for digest in version["files"].values()} & texts.keys()
    for digest in sorted(in_use):
        files.write(f"controls/texts/{digest}", texts[digest].encode())
    _write_json(files, "controls/policies.json", {"in_force": versions, "texts_at_writing": known.policies})
    _write_json(files, "inventory/agents.json", known.agents)
    counts["inventory/agents.json"] = len(known.agents)
    _write_json(files, "privacy/art30.json", known.art30)
    files.write("inventory/models.csv", table(("model", "calls"), iter(sorted(tally.models.items()))))
    files.write("spend/spend.csv", tally.spend_csv())
    files.write("quality/outcomes.csv", tally.outcomes_csv())
    files.write("guardrails/summary.csv", tally.guards_csv())
    files.write("mapping.csv", mapping_csv(counts))
    scope = {
        "version": VERSION,
        "deployment": known.deployment,
        "organisation": known.organisation,
        "from": wanted.since,
        "to": wanted.until,
    }
    files.write("report.html", report({**scope, "logs": logs}, tally, counts, known.agents))
    files.write("VERIFY.md", HOW)
    manifest = write_manifest(files, logs, evidence=scope)
    origin = f"{logs[0]['origin']}{offline.EVIDENCE}"
    note = signer.sign(Checkpoint(origin, len(manifest), hashlib.sha256(manifest).digest()))
    files.write(offline.MANIFEST_NOTE, note.encode())
    into.close()
    return counts


async def _tally(log: LogReader, logs: Sequence[Mapping[str, Any]]) -> Tally:
    tally = Tally()
    for one in logs:
        async for record in log.records(one["name"], Filter(from_seq=one["first"])):
            if record.seq >= one["end"]:
                break
            if record.body:
                tally.add(one["name"], orjson.loads(record.body))
    return tally


async def _section(log: LogReader, logs: Sequence[Mapping[str, Any]], section: Section, files: Files) -> int:
    count = 0
    with files.writing(section.file) as write:
        for one in logs:
            async for record in log.records(
                one["name"], Filter(events=section.events, from_seq=one["first"])
            ):
                if record.seq >= one["end"]:
                    break
                line = line_of(section, record.body) if record.body else None
                if line is not None:
                    write(line)
                    count += 1
    return count


async def _policies(
    log: LogReader, logs: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """Which policies were in force from when on, the one at the start of the period included; and the texts
    that the log has of their files, by SHA-256.
    """
    versions: list[Mapping[str, Any]] = []
    texts: dict[str, str] = {}
    for one in (one for one in logs if one["name"] == SYSTEM_LOG):
        async for record in log.records(SYSTEM_LOG, Filter(events=_POLICIES)):
            if record.seq >= one["end"]:
                break
            if not record.body:
                continue
            told = orjson.loads(record.body)
            if told["type"] == Event.POLICY_TEXT:
                texts[told["sha256"]] = told["text"]
                continue
            files = told.get("files", {})
            entry = {"seq": record.seq, "since": told["ts"], "policy": told["policy"], "files": files}
            if versions and (versions[-1]["policy"], versions[-1]["files"]) == (entry["policy"], files):
                continue
            if record.seq < one["first"]:
                versions.clear()
            versions.append(entry)
    return versions, texts


def _write_json(files: Files, name: str, data: object) -> None:
    files.write(name, orjson.dumps(data, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n")
