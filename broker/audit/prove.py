"""How does somebody else believe that a record is in the log? Proofs against signed checkpoints.

A proof is a list of hashes; whoever holds the checkpoint and the record checks it without the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from broker.audit.checkpoint import Checkpoint
from broker.audit.interface import Filter, LogReader, StoredRecord
from broker.audit.tiles import MissingHashesError, TiledTree
from broker.audit.tree import leaf_hash, verify_consistency, verify_inclusion


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
        log: where the log is read: some tiles of hashes, whatever its length.
        name: the log.
        records: those to prove.
        checkpoint: what the proofs lead to, of this log, its signature already checked.
        since: older checkpoints of this log, their signatures already checked.
    """
    end = [record.seq async for record in log.records(name, Filter(last=1))]
    if (held := end[0] + 1 if end else 0) < checkpoint.size:
        return _cut(held, checkpoint)
    tree = TiledTree(partial(log.tile, name))
    problems: list[str] = []
    try:
        included = [await _included(record, tree, checkpoint, problems) for record in records]
        extended = [await _extended(old, tree, checkpoint, problems) for old in since]
    except MissingHashesError as error:
        return Proof((), (), (f"the log does not hold all the hashes of its records: {error}",))
    return Proof(tuple(filter(None, included)), tuple(filter(None, extended)), tuple(problems))


def _cut(held: int, checkpoint: Checkpoint) -> Proof:
    return Proof((), (), (f"the log holds {held} records, its signed checkpoint covers {checkpoint.size}",))


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


async def _included(
    record: StoredRecord, tree: TiledTree, checkpoint: Checkpoint, problems: list[str]
) -> Included | None:
    if record.seq >= checkpoint.size:
        problems.append(f"record {record.seq} is not covered by the checkpoint of {checkpoint.size} records")
        return None
    path = await tree.inclusion(record.seq, checkpoint.size)
    if not verify_inclusion(leaf_hash(record.body), record.seq, checkpoint.size, path, checkpoint.root):
        problems.append(f"record {record.seq} is not in the log that was signed at {checkpoint.size} records")
    return Included(record, tuple(path))


async def _extended(
    old: Checkpoint, tree: TiledTree, checkpoint: Checkpoint, problems: list[str]
) -> Extended | None:
    if not 0 < old.size <= checkpoint.size:
        problems.append(f"the older checkpoint covers {old.size} records, the newest {checkpoint.size}")
        return None
    path = await tree.consistency(old.size, checkpoint.size)
    if not verify_consistency(old.size, checkpoint.size, old.root, checkpoint.root, path):
        problems.append(f"the log is not a continuation of the one that was signed at {old.size} records")
    return Extended(old, tuple(path))
