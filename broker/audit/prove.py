"""How does somebody else believe that a record is in the log? Proofs against signed checkpoints.

A proof is a list of hashes; whoever holds the checkpoint and the record checks it without the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.audit.checkpoint import Checkpoint
from broker.audit.interface import LogReader, StoredRecord
from broker.audit.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)


@dataclass(frozen=True, slots=True)
class Included:
    """One record, and the path from its hash to the checkpoint's root (RFC 9162 §2.1.3)."""

    record: StoredRecord
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Extended:
    """An older checkpoint, and the path that shows that the log only grew since (RFC 9162 §2.1.4)."""

    old: Checkpoint
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven, each part checked as its reader will. It holds if there are no problems."""

    records: tuple[Included, ...]
    since: tuple[Extended, ...]
    problems: tuple[str, ...]


async def prove(
    log: LogReader,
    name: str,
    records: Sequence[StoredRecord],
    checkpoint: Checkpoint,
    since: Sequence[Checkpoint] = (),
) -> Proof:
    """Prove that records are in a log and that the log only grew.

    Args:
        log: where the log is read; all its hashes are.
        name: the log.
        records: those to prove.
        checkpoint: what the proofs lead to, of this log, its signature already checked.
        since: older checkpoints of this log, their signatures already checked.
    """
    leaves = [record.leaf async for record in log.records(name)][: checkpoint.size]
    if len(leaves) < checkpoint.size:
        cut = f"the log holds {len(leaves)} records, its signed checkpoint covers {checkpoint.size}"
        return Proof((), (), (cut,))
    problems: list[str] = []
    included = [_included(record, leaves, checkpoint, problems) for record in records]
    extended = [_extended(old, leaves, checkpoint, problems) for old in since]
    return Proof(tuple(filter(None, included)), tuple(filter(None, extended)), tuple(problems))


def receipt_problems(
    receipt: Mapping[str, object], name: str, records: Sequence[StoredRecord], size: int
) -> list[str]:
    """What in a caller's receipt `{log, index, leaf, size}` is not so.

    Args:
        receipt: what the caller holds.
        name: the log that holds the call.
        records: the call's records.
        size: how many records the checkpoint covers.
    """
    index, then = receipt.get("index"), receipt.get("size")
    if receipt.get("log") != name:
        return [f"the receipt is of the log `{receipt.get('log')}`, the call is in `{name}`"]
    found = next((record for record in records if record.seq == index), None)
    if found is None:
        return [f"the receipt is for record {index}, which is none of this call"]
    wrong: list[str] = []
    if receipt.get("leaf") != found.leaf.hex():
        wrong.append(f"record {index} is not the one that the receipt was given for: its hash is another")
    if not isinstance(then, int) or not found.seq < then <= size:
        wrong.append(f"the receipt says that the log held {then} records, which cannot be")
    return wrong


def _included(
    record: StoredRecord, leaves: Sequence[bytes], checkpoint: Checkpoint, problems: list[str]
) -> Included | None:
    if record.seq >= checkpoint.size:
        problems.append(f"record {record.seq} is not covered by the checkpoint of {checkpoint.size} records")
        return None
    path = inclusion_proof(leaves, record.seq)
    if not verify_inclusion(leaf_hash(record.body), record.seq, checkpoint.size, path, checkpoint.root):
        problems.append(f"record {record.seq} is not in the log that was signed at {checkpoint.size} records")
    return Included(record, tuple(path))


def _extended(
    old: Checkpoint, leaves: Sequence[bytes], checkpoint: Checkpoint, problems: list[str]
) -> Extended | None:
    if not 0 < old.size <= checkpoint.size:
        problems.append(f"the older checkpoint covers {old.size} records, the newest {checkpoint.size}")
        return None
    path = consistency_proof(leaves, old.size)
    if not verify_consistency(old.size, checkpoint.size, old.root, checkpoint.root, path):
        problems.append(f"the log is not a continuation of the one that was signed at {old.size} records")
    return Extended(old, tuple(path))
