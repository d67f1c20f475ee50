"""How does a witness, a monitor or a mirror read a log? As static files in the tlog-tiles layout (C2SP).

checkpoint                     the signed checkpoint
tile/L/NNN[.p/W]               hashes, 256 a tile; the last one of a level is partial
tile/entries/NNN[.p/W]         the records of a tile of level 0, each with its length before it (two bytes)
"""

from broker.audit.checkpoint import Note
from broker.audit.export import Folder, Zip
from broker.audit.interface import Filter, LogReader
from broker.audit.tiles import HASH_BYTES, HEIGHT, WIDTH, entries_path, path


async def write_tiles(log: LogReader, name: str, note: str, into: Folder | Zip, *, below: str = "") -> int:
    """Write one log up to a signed checkpoint; how many records.

    Args:
        log: where it is read.
        name: the log.
        note: the signed note up to which it goes.
        into: where the files go.
        below: path before all of them, with a slash at its end.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    size = Note.parse(note).checkpoint.size
    with into.put(f"{below}checkpoint") as write:
        write(note.encode())
    level, count = 0, size
    while count:
        for n in range(-(-count // WIDTH)):
            width = min(WIDTH, count - n * WIDTH)
            hashes = await log.tile(name, level, n)
            with into.put(below + path(level, n, width)) as write:
                write(hashes[: width * HASH_BYTES])
        level, count = level + 1, count >> HEIGHT
    for n in range(-(-size // WIDTH)):
        first, width = n * WIDTH, min(WIDTH, size - n * WIDTH)
        with into.put(below + entries_path(n, width)) as write:
            async for record in log.records(name, Filter(from_seq=first, before_seq=first + width)):
                write(len(record.body).to_bytes(2) + record.body)
    return size
