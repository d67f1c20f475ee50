"""Is this export whole, and does it make sense? Needs nothing but Python 3.9 or newer.

    python3 verify.py [FOLDER or ZIP] [--key KEY]... [--checkpoint FILE]... [--witness KEY]...

Every export holds a copy of this file as `verify.py`. Take it from somebody you trust instead: who
can change an export can change the copy too. For the same reason pin the keys (`broker audit keys`,
`--key`) and give checkpoints that were kept elsewhere (`--checkpoint`): without them an export that
somebody made up from end to end, with a key of their own, looks whole.

Checked are: the hashes of all files (manifest.json); the RFC 9162 tree over all leaves; the signed
checkpoints (C2SP tlog-checkpoint, Ed25519); of each record its hash, log, number and time; that
every end has one beginning, a refused call none, parents come first, and no budget was exceeded
after any record. It ends with 0 if everything holds, 1 if anything does not, 2 if it cannot read.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
import time
import zipfile
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, Tuple  # noqa: UP035 - Python 3.9 runs this

FORMAT = "broker-audit-export/1"
RECORD_FORMAT = 1
SYSTEM_LOG = "system"
HASH_BYTES = 32
TICK = 20_000
Checkpoint = Tuple[str, int, bytes]  # noqa: UP006 - evaluated by Python 3.9
"""Origin, size, root."""
Keys = Dict[str, List[bytes]]  # noqa: UP006 - evaluated by Python 3.9
"""The Ed25519 public keys that are believed, by origin."""
Account = Tuple[str, str, str]  # noqa: UP006 - evaluated by Python 3.9
"""Scope, window and unit of a balance."""


class Unreadable(Exception):
    """What was given cannot be read as what it should be."""


# --- Ed25519 (RFC 8032 §5.1.7), on public data only: nothing here has to take constant time ---------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
Point = Tuple[int, int, int, int]  # noqa: UP006 - evaluated by Python 3.9
NEUTRAL: Point = (0, 1, 1, 0)


def add(a: Point, b: Point) -> Point:
    """The sum of two points, in extended coordinates (RFC 8032 §5.1.4)."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    m, n = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    k, z = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = n - m, z - k, z + k, n + m
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def double(a: Point) -> Point:
    """Twice a point (RFC 8032 §5.1.4)."""
    x, y, z, _ = a
    m, n = x * x % P, y * y % P
    h = m + n
    e, g = h - (x + y) * (x + y), m - n
    f = 2 * z * z + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def decompress(data: bytes) -> Point | None:
    """The point that 32 bytes stand for, if any (RFC 8032 §5.1.3)."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def compress(point: Point) -> bytes:
    """The 32 bytes that stand for a point (RFC 8032 §5.1.2)."""
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(HASH_BYTES, "little")


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(HASH_BYTES, "little")) or NEUTRAL


def signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this Ed25519 key has signed this message."""
    key = decompress(public) if len(public) == HASH_BYTES else None
    if key is None or len(signature) != 2 * HASH_BYTES:
        return False
    scalar = int.from_bytes(signature[HASH_BYTES:], "little")
    if scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:HASH_BYTES] + public + message).digest()
    factor = int.from_bytes(digest, "little") % ORDER
    minus = (P - key[0], key[1], 1, P - key[3])
    table = (NEUTRAL, BASE, minus, add(BASE, minus))
    point = NEUTRAL
    for bit in range(ORDER.bit_length(), -1, -1):
        point = double(point)
        chosen = (scalar >> bit & 1) | (factor >> bit & 1) << 1
        if chosen:
            point = add(point, table[chosen])
    return compress(point) == signature[:HASH_BYTES]


# --- Signed checkpoints (C2SP tlog-checkpoint, signed-note) ------------------------------------------


def unbase64(text: str) -> bytes:
    """Bytes from base64.

    Raises:
        Unreadable: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("a hash, key or signature is not base64") from None


def parse_keys(lines: list[str]) -> Keys:
    """Verifier keys `<origin>+<id>+<key>`, by origin; a line that begins with # says something else."""
    keys: Keys = {}
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        name, _, rest = line.strip().partition("+")
        identity, _, encoded = rest.partition("+")
        key = unbase64(encoded)
        if len(key) != HASH_BYTES + 1 or key[0] != 1 or key_id(name, key[1:]).hex() != identity:
            raise Unreadable(f"`{line.strip()}` is no Ed25519 verifier key")
        keys.setdefault(name, []).append(key[1:])
    return keys


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes that say which key a signature is from."""
    return hashlib.sha256(name.encode() + b"\n\1" + public).digest()[:4]


def split_notes(text: str) -> list[tuple[str, list[str]]]:
    """The notes in a text, as their signed text and signature lines, whatever lies between them."""
    joined = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    groups = re.split(r"\n{2,}", joined) if joined else []
    if len(groups) % 2:
        raise Unreadable("a checkpoint is cut off")
    return [(f"{groups[n]}\n", groups[n + 1].split("\n")) for n in range(0, len(groups), 2)]


def open_note(text: str, signatures: list[str], keys: Keys) -> tuple[Checkpoint, bool]:
    """What a note says, and whether a key that is believed has signed it."""
    lines = text.split("\n")
    if len(lines) < 4 or not re.fullmatch("0|[1-9][0-9]*", lines[1]):
        raise Unreadable("a checkpoint begins with its origin, its size and its root")
    checkpoint = (lines[0], int(lines[1]), unbase64(lines[2]))
    known = {key_id(lines[0], key): key for key in keys.get(lines[0], [])}
    valid: list[bool] = []
    for line in signatures:
        dash, name, encoded = [*line.split(" "), "", "", ""][:3]
        blob = unbase64(encoded)
        key = known.get(blob[:4]) if (dash, name) == ("\u2014", lines[0]) else None
        if key is not None:
            valid.append(signed_by(key, text.encode(), blob[4:]))
    return checkpoint, bool(valid) and all(valid)


def parse_witness(line: str) -> tuple[str, bytes, bytes]:
    """Name, id and public key of a witness, from `<name>+<id>+<key>` (C2SP tlog-cosignature)."""
    name, _, rest = line.strip().partition("+")
    identity, _, encoded = rest.partition("+")
    key = unbase64(encoded)
    named = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if len(key) != HASH_BYTES + 1 or key[0] != 4 or named.hex() != identity:
        raise Unreadable(f"`{line.strip()}` is no Ed25519 key of a witness")
    return name, named, key[1:]


def witnessed(text: str, signatures: list[str], witness: tuple[str, bytes, bytes]) -> int | None:
    """When a witness has signed a note, in Unix seconds, if it has."""
    for line in signatures:
        _, name, encoded = [*line.split(" "), "", "", ""][:3]
        blob = unbase64(encoded) if name == witness[0] else b""
        if blob[:4] == witness[1] and len(blob) == 12 + 2 * HASH_BYTES:
            at = int.from_bytes(blob[4:12], "big")
            if signed_by(witness[2], f"cosignature/v1\ntime {at}\n{text}".encode(), blob[12:]):
                return at
    return None


# --- The tree (RFC 9162 §2.1) -------------------------------------------------------------------------


def push(frontier: list[bytes], size: int, leaf: bytes) -> None:
    """Add one leaf hash to the perfect subtrees of a tree that holds `size` leaves."""
    while size & 1:
        leaf = hashlib.sha256(b"\1" + frontier.pop() + leaf).digest()
        size >>= 1
    frontier.append(leaf)


def root_of(frontier: list[bytes]) -> bytes:
    """The root over perfect subtrees, largest first."""
    if not frontier:
        return hashlib.sha256(b"").digest()
    root = frontier[-1]
    for left in reversed(frontier[:-1]):
        root = hashlib.sha256(b"\1" + left + root).digest()
    return root


# --- What the records say -----------------------------------------------------------------------------


class Story:
    """Reads records one after the other and says of each what cannot be true.

    Where an export begins in the middle of a log (`whole` is false) calls may have begun before it,
    and what was spent before is not known: then budgets are not judged.
    """

    def __init__(self, *, whole: bool) -> None:
        self.open: dict[str, tuple[int, Any]] = {}
        self.pruned = 0
        self._seen: set[str] = set()
        self._used: dict[Account, int] = {}
        self._whole = whole
        self._agreements = Agreements(whole=whole)

    def begins_later(self) -> None:
        """Records before those that are read are not there any more: no longer whole."""
        self._whole = False
        self._agreements = Agreements(whole=False)

    def read(self, seq: int, body: dict[str, Any]) -> list[str]:
        """What is wrong with this record, given those before it."""
        try:
            return [*self._causes(seq, body), *self._judge(seq, body)]
        except (KeyError, TypeError, ValueError, AttributeError):
            return ["the record lacks what a record of its type has"]

    def _causes(self, seq: int, body: dict[str, Any]) -> list[str]:
        cause: dict[str, Any] = body.get("cause") or {}
        wrong = [
            f"it refers to record {ref}, which is not before it"
            for ref in cause.get("refs", ())
            if ref >= seq
        ]
        if self._whole and body["type"].startswith("call."):
            for name in ("parent", "root"):
                caller = cause.get(name)
                if caller is not None and caller != body["call"] and caller not in self._seen:
                    wrong.append(f"its {name} `{caller}` is no call before it")
        return wrong

    def _judge(self, seq: int, body: dict[str, Any]) -> list[str]:
        kind = body["type"]
        if kind == "log.pruned" and body["what"] == "records":
            self.pruned = max(self.pruned, min(int(body["end"]), seq))
        if kind == "call.intent":
            return self._begin(body["call"], seq, body)
        if kind == "call.denied":
            known = body["call"] in self._seen
            self._seen.add(body["call"])
            return [f"the call `{body['call']}` was refused, but it has other records"] if known else []
        if kind in ("call.outcome", "call.outcome_unknown"):
            return self._end(body["call"], body)
        if kind.startswith("approval."):
            return self._agreements.read(body)
        return []

    def _begin(self, call: str, seq: int, body: dict[str, Any]) -> list[str]:
        if call in self._seen:
            return [f"a second beginning of the call `{call}`"]
        spend: dict[str, Any] = body.get("spend") or {"held": 0, "budgets": []}
        self._seen.add(call)
        self.open[call] = (seq, spend)
        wrong = self._agreements.begin(call, body) if "approval" in body else []
        for budget in spend["budgets"]:
            held, cap, accounts = held_in(spend, budget), budget["cap"], accounts_of(budget)
            self._used[accounts[0]] = self._used.get(accounts[0], 0) + held
            used = sum(self._used.get(account, 0) for account in accounts)
            if self._whole and held and cap is not None and used > cap:
                unit = budget.get("unit", "micro-USD")
                wrong.append(f"`{budget['scope']}` held and had spent {used} of {cap} {unit}")
        return wrong

    def _end(self, call: str, body: dict[str, Any]) -> list[str]:
        if call not in self.open:
            if call not in self._seen and not self._whole:
                self._seen.add(call)
                return []
            return [f"the call `{call}` {'already has an end' if call in self._seen else 'has no beginning'}"]
        seq, spend = self.open.pop(call)
        for budget in spend["budgets"]:
            held = held_in(spend, budget)
            self._used[accounts_of(budget)[0]] += charged_in(body, budget, held) - held
        if body.get("intent", seq) != seq:
            return [f"the call `{call}` began with record {seq}, not {body['intent']}"]
        return []


REACHES = ("call", "chain", "agent")
"""The narrowest first; an approval reaches no further than any of those who agreed to it wanted."""
OVER = {"approval.denied": "denied", "approval.expired": "expired", "approval.revoked": "revoked"}


class Agreements:
    """What humans have agreed to so far, and the calls made on that.

    The transaction is not compared: a task goes on under another token, so two records of it may name it
    differently. Where an export begins in the middle of a log (`whole` is false) an approval may have been
    granted before it.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._reach: dict[str, int] = {}
        self._granted: dict[str, dict[str, Any]] = {}
        self._over: dict[str, str] = {}
        self._calls: dict[str, str] = {}

    def read(self, body: dict[str, Any]) -> list[str]:
        """What is wrong with this record of an approval, given those before it."""
        event = body["type"]
        if event == "approval.granted":
            self._agree(body["approval"], body)
        elif event in OVER:
            self._over[body["approval"]] = OVER[event]
        elif event == "approval.used" and self._calls.get(body["approval"]) != body["used_by"]:
            if not self._whole and body["approval"] not in self._calls:
                return []
            return [f"the call `{body['used_by']}` was not made on the approval `{body['approval']}`"]
        return []

    def begin(self, call: str, body: dict[str, Any]) -> list[str]:
        """What is wrong with a call that was made on an approval."""
        approval = body["approval"]
        made_on = f"the call `{call}` was made on the approval `{approval}`"
        before, self._calls[approval] = self._calls.get(approval), call
        granted = self._granted.get(approval)
        if granted is None and not self._whole:
            return []
        if granted is None:
            return [f"{made_on}, which nobody had granted"]
        if approval in self._over:
            return [f"{made_on}, which was {self._over[approval]}"]
        once = self._reach[approval] == 0
        if once and before is not None:
            return [f"{made_on}, which was for one call and used by `{before}`"]
        other = differing_in(granted, body, once=once)
        return [f"{made_on}, which was granted for another {what}" for what in other]

    def _agree(self, approval: str, body: dict[str, Any]) -> None:
        reach = REACHES.index(body["reach"])
        self._reach[approval] = min(reach, self._reach.get(approval, reach))
        if not body["missing"]:
            self._granted[approval] = body


def differing_in(granted: dict[str, Any], made: dict[str, Any], *, once: bool) -> list[str]:
    """In what a call differs from what was granted. One for a single call is for its arguments and hops."""
    asked, acting = granted["actor"], made["actor"]
    differing: list[str] = []
    hops = not once or asked["grants"] == acting.get("grants", [])
    if not hops or any(asked[key] != acting[key] for key in ("agent", "subject", "chain")):
        differing.append("actor")
    if any(granted["what"][key] != made["what"].get(key) for key in ("method", "name", "connector")):
        differing.append("target")
    if once and granted["arguments"] != made.get("approved"):
        differing.append("set of arguments")
    return differing


def accounts_of(budget: dict[str, Any]) -> list[Account]:
    """The balances that count against a cap, the present one first: a rolling window has several."""
    scope, window, unit = budget["scope"], budget.get("window", ""), budget.get("unit", "usd")
    parts = int(budget.get("parts", 1))
    if parts == 1:
        return [(scope, window, unit)]
    name, _, number = window.rpartition(":")
    return [(scope, f"{name}:{int(number) - part}", unit) for part in range(parts)]


def held_in(spend: dict[str, Any], budget: dict[str, Any]) -> int:
    """What the beginning of a call holds in the unit of a budget."""
    unit = budget.get("unit", "usd")
    return 1 if unit in ("calls", "open") else int(spend["tokens" if unit == "tokens" else "held"])


def charged_in(body: dict[str, Any], budget: dict[str, Any], held: int) -> int:
    """What the end of a call says it cost in the unit of a budget."""
    unit = budget.get("unit", "usd")
    if unit == "open":
        return 0
    if unit == "calls":
        return int(body.get("calls", 1))
    if unit == "tokens":
        return 0 if body.get("calls") == 0 else int(body.get("tokens", held))
    return int(body["cost"])


# --- The export ---------------------------------------------------------------------------------------


class Export:
    """The files of an export, in a folder or a zip."""

    def __init__(self, place: Path) -> None:
        self._zip = None if place.is_dir() else zipfile.ZipFile(place)
        self._place = place

    def names(self) -> set[str]:
        """All files."""
        if self._zip:
            return {name for name in self._zip.namelist() if not name.endswith("/")}
        files = (path.relative_to(self._place) for path in self._place.rglob("*") if path.is_file())
        return {path.as_posix() for path in files if "__pycache__" not in path.parts}

    def open(self, name: str) -> IO[bytes]:
        """A file, for reading."""
        return self._zip.open(name) if self._zip else (self._place / name).open("rb")

    def read(self, name: str) -> bytes:
        """All of a file."""
        with self.open(name) as file:
            return file.read()

    def digest(self, name: str) -> str:
        """The SHA-256 of a file, in hex."""
        digest = hashlib.sha256()
        with self.open(name) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return digest.hexdigest()


class Verifier:
    """Checks one export; `problems` are `(log, seq, what)`, `lines` say what was found of each log."""

    def __init__(
        self, export: Export, pinned: Keys, kept: str, witnesses: list[tuple[str, bytes, bytes]]
    ) -> None:
        self.problems: list[tuple[str, int, str]] = []
        self.lines: list[str] = []
        self._export = export
        self._keys = pinned
        self._kept = kept
        self._witnesses = witnesses
        self._told: list[Checkpoint] = []

    def run(self) -> None:
        """Check everything."""
        manifest = json.loads(self._export.read("manifest.json"))
        if manifest.get("format") != FORMAT:
            raise Unreadable(f"this is not an export in the format {FORMAT}")
        self._files(manifest["files"])
        self._keys = self._keys or parse_keys(self._export.read("keys.txt").decode().splitlines())
        kept = self._believed("", self._kept)
        here = {log["origin"] for log in manifest["logs"]}
        for origin, size, _ in kept:
            if origin not in here:
                self._wrong(origin, size, "a kept checkpoint is of a log that is not in this export")
        logs = manifest["logs"]
        for log in sorted(logs, key=lambda log: log["name"] != SYSTEM_LOG):  # which tells of the others
            self._log(log, [checkpoint for checkpoint in kept if checkpoint[0] == log["origin"]])
        if len(logs) > 1:
            for origin in sorted({checkpoint[0] for checkpoint in self._told} - here):
                self._wrong(origin, 0, "the system log tells of a log that is not in this export")

    def _wrong(self, log: str, seq: int, what: str) -> None:
        self.problems.append((log, seq, what))

    def _files(self, listed: dict[str, str]) -> None:
        there = self._export.names() - {"manifest.json"}
        for name in sorted(there - listed.keys()):
            self._wrong("", 0, f"the file {name} is not in the manifest")
        for name, digest in listed.items():
            if name not in there:
                raise Unreadable(f"the file {name} is missing")
            if self._export.digest(name) != digest:
                self._wrong("", 0, f"the file {name} is not the one that was exported")

    def _believed(self, log: str, text: str) -> list[Checkpoint]:
        """The checkpoints in a text that a known key has signed; the others are reported."""
        good: list[Checkpoint] = []
        try:
            for signed, signatures in split_notes(text):
                checkpoint, valid = open_note(signed, signatures, self._keys)
                if valid:
                    good.append(checkpoint)
                    continue
                what = f"the checkpoint at {checkpoint[1]} is not signed by a known key"
                self._wrong(log or checkpoint[0], checkpoint[1], what)
        except Unreadable as error:
            self._wrong(log, 0, f"a checkpoint cannot be read: {error}")
        return good

    def _log(self, log: dict[str, Any], kept: list[Checkpoint]) -> None:
        name, folder = log["name"], log["folder"]
        stored = self._believed(name, self._export.read(f"{folder}/checkpoints.txt").decode())
        for origin, size, _ in stored:
            if origin != log["origin"]:
                self._wrong(name, size, "a checkpoint belongs to another log")
        leaves = self._export.read(f"{folder}/leaves.bin")
        size = len(leaves) // HASH_BYTES
        if not 0 <= log["first"] <= log["end"] <= log["size"]:
            raise Unreadable(f"the manifest has no possible range for the log `{name}`")
        if size != log["size"]:
            self._wrong(name, size, f"the hashes end here, the manifest counts {log['size']} records")
        if name == SYSTEM_LOG:
            self._cosigned(self._export.read(f"{folder}/checkpoints.txt").decode())
        mine = [checkpoint for checkpoint in stored if checkpoint[0] == log["origin"]]
        told = [checkpoint for checkpoint in self._told if checkpoint[0] == log["origin"]]
        signed, root = self._tree(name, leaves, mine + kept, told)
        calls = self._records(log, leaves)
        self.lines.append(
            f"{name}: {log['end'] - log['first']} records of {size}, root {root.hex()[:16]}…,"
            f" signed to {signed}, {len(calls)} calls open"
        )
        if log["first"]:
            self.lines.append(f"  from #{log['first']} on only: parents and budgets are not judged")
        if log.get("pruned"):
            self.lines.append(f"  of the first {log['pruned']} only the hashes: their time was over")
        self.lines += [f"  open: `{call}` since #{seq}" for call, (seq, _) in calls.items()]

    def _cosigned(self, text: str) -> None:
        """Say how far witnesses vouch for the system log; that one does not at all is wrong."""
        for witness in self._witnesses:
            found = [
                (int(signed.split("\n")[1]), at)
                for signed, signatures in split_notes(text)
                for at in [witnessed(signed, signatures, witness)]
                if at is not None
            ]
            if not found:
                self._wrong(SYSTEM_LOG, 0, f"no checkpoint is signed by the witness `{witness[0]}`")
                continue
            size, at = max(found)
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            self.lines.append(f"  {SYSTEM_LOG} to {size} seen by the witness `{witness[0]}` at {when}")

    def _tree(
        self, name: str, leaves: bytes, checkpoints: list[Checkpoint], told: list[Checkpoint]
    ) -> tuple[int, bytes]:
        """Compare the tree with what was signed, or told; up to where it agrees, and its root."""
        expected: dict[int, set[bytes]] = {}
        for _, size, root in checkpoints + told:
            expected.setdefault(size, set()).add(root)
        size, signed, broken = len(leaves) // HASH_BYTES, 0, False
        frontier: list[bytes] = []
        for seq in range(size + 1):
            roots = expected.get(seq)
            if roots and not broken:
                broken = roots != {root_of(frontier)}
                if broken:
                    self._wrong(name, signed, f"records {signed} to {seq - 1} are not those that were signed")
                else:
                    signed = seq
            if seq < size:
                push(frontier, seq, leaves[seq * HASH_BYTES : (seq + 1) * HASH_BYTES])
        most = max(expected, default=0)
        if most > size:
            self._wrong(name, size, f"the log ends here, a signed checkpoint covers {most} records")
        elif (most := max((one[1] for one in checkpoints), default=0)) < size:
            self._wrong(name, most, "no signed checkpoint covers the records from here on")
        return signed, root_of(frontier)

    def _records(self, log: dict[str, Any], leaves: bytes) -> dict[str, tuple[int, Any]]:
        """Check every record; the calls that are open at the end."""
        name, seq, last = log["name"], log["first"], ""
        story = Story(whole=log["first"] == 0)
        with self._export.open(f"{log['folder']}/records.jsonl") as file:
            for line in file:
                record = line[:-1] if line.endswith(b"\n") else line
                leaf = hashlib.sha256(b"\0" + record).digest()
                if leaf != leaves[seq * HASH_BYTES : (seq + 1) * HASH_BYTES]:
                    self._wrong(name, seq, "the record does not have the hash that was exported")
                last = self._record(log, seq, record, last, story)
                seq += 1
                self._tick(name, seq, log["end"])
        if seq != log["end"]:
            self._wrong(
                name, min(seq, log["end"]), f"the records end at {seq}, the manifest counts {log['end']}"
            )
        pruned = int(log.get("pruned", 0))
        if seq == log["size"] and pruned > story.pruned:
            what = f"the bodies of records {story.pruned} to {pruned - 1} are gone, and no record says why"
            self._wrong(name, story.pruned, what)
        return story.open

    def _record(self, log: dict[str, Any], seq: int, record: bytes, last: str, story: Story) -> str:
        """Check what a record says; its time."""
        try:
            body = json.loads(record)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._wrong(log["name"], seq, "the record is not a JSON object")
            return last
        for what in envelope(body, log["origin"], seq, last):  # pyright: ignore[reportUnknownArgumentType] - JSON
            self._wrong(log["name"], seq, what)
        if log["name"] == SYSTEM_LOG and body.get("type") == "checkpoint.tenant":  # pyright: ignore[reportUnknownMemberType] - JSON
            self._told.append((body["origin"], body["size"], bytes.fromhex(body["root"])))  # pyright: ignore[reportUnknownArgumentType] - JSON
        for what in story.read(seq, body):  # pyright: ignore[reportUnknownArgumentType] - JSON
            self._wrong(log["name"], seq, what)
        ts: object = body.get("ts")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
        return ts if isinstance(ts, str) else last

    def _tick(self, name: str, done: int, end: int) -> None:
        if done % TICK == 0 and sys.stderr.isatty():
            sys.stderr.write(f"\r{name}: {done:,} of {end:,} records")
            sys.stderr.flush()


def envelope(body: dict[str, Any], origin: str, seq: int, last: str) -> Iterator[str]:
    """What is wrong with the fields that the log itself has set."""
    if body.get("v") != RECORD_FORMAT:
        yield "the record has an unknown format"
    if body.get("log") != origin:
        yield f"the record belongs to the log `{body.get('log')}`"
    if body.get("seq") != seq:
        yield f"the record was written as number {body.get('seq')}"
    if (body.get("type") == "log.opened") != (seq == 0):
        yield "a log begins with one `log.opened`, and has no other"
    ts = body.get("ts")
    if not isinstance(ts, str):
        yield "the record has no time"
    elif ts < last:
        yield "the record is older than the one before it"


def main() -> int:
    """Check an export and say what was found; the exit code."""
    parser = argparse.ArgumentParser(description="Verify an export of a log, with Python alone.")
    parser.add_argument("export", nargs="?", type=Path, default=Path(__file__).parent, help="folder or zip")
    parser.add_argument("--key", action="append", default=[], help="believe only this key (repeatable)")
    parser.add_argument("--checkpoint", action="append", default=[], type=Path, help="kept elsewhere")
    parser.add_argument("--witness", action="append", default=[], help="expect its cosignature (repeatable)")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        kept = "\n\n".join(path.read_text("utf-8").strip() for path in given.checkpoint)
        witnesses = [parse_witness(line) for line in given.witness]
        verifier = Verifier(Export(given.export), parse_keys(given.key), kept, witnesses)
        verifier.run()
    except (Unreadable, OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        sys.stderr.write(f"cannot verify: {error}\n")
        return 2
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - a text stream
    problems = [f"{log or 'export'} #{seq}: {what}" for log, seq, what in verifier.problems]
    believed = "" if given.key else "note: the keys are the export's own; pin them with --key\n"
    verdict = "does not verify" if problems else "verified"
    sys.stderr.write(f"\r{believed}took {time.monotonic() - started:.1f} s\n")
    sys.stdout.write("\n".join([*verifier.lines, *problems, verdict]) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
