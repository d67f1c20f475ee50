"""Which hashes are kept so that proofs need not read records? Full tiles, in the commit that fills them."""

from broker.audit.tiles import HASH_BYTES, HEIGHT, WIDTH, tile_root
from broker.storage.sqlite.connection import Connection

SEQ_BITS = 40
"""`audit_rec.id` is `(log << SEQ_BITS) | seq`."""


class Tiles:
    """The writer's side of the tiles. Records have to be in their table before `extend` is told of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._made: dict[int, int] = {}

    def forget(self) -> None:
        """Believe the file again."""
        self._made.clear()

    def extend(self, log: int, size: int) -> None:
        """Make the tiles that a log of this size has and that are not kept yet."""
        made = self._made.get(log)
        if made is None:
            made = self._kept(log)
        for n in range(made, size >> HEIGHT):
            self._put(log, 0, n, leaves(self._connection, log, n))
        self._made[log] = size >> HEIGHT

    def _kept(self, log: int) -> int:
        query = "select ifnull(max(n) + 1, 0) from audit_tile where log = ? and level = 0"
        return self._connection.execute(query, (log,)).get

    def _put(self, log: int, level: int, n: int, hashes: bytes) -> None:
        """Keep a tile; the root of a full one goes into the level above."""
        self._connection.execute(
            "insert or replace into audit_tile values (?, ?, ?, ?)", (log, level, n, hashes)
        )
        if len(hashes) == WIDTH * HASH_BYTES:
            above, at = divmod(n, WIDTH)
            others = kept(self._connection, log, level + 1, above) or b""
            self._put(log, level + 1, above, others[: at * HASH_BYTES] + tile_root(hashes))


def kept(connection: Connection, log: int, level: int, n: int) -> bytes | None:
    """The hashes of a tile that is kept."""
    row = connection.execute(
        "select hashes from audit_tile where log = ? and level = ? and n = ?", (log, level, n)
    ).fetchone()
    return None if row is None else row[0]


def leaves(connection: Connection, log: int, n: int) -> bytes:
    """The hashes of tile `n` of level 0, as the records have them."""
    first = (log << SEQ_BITS) | n << HEIGHT
    rows = connection.execute(
        "select leaf from audit_rec where id >= ? and id < ? order by id", (first, first + WIDTH)
    )
    return b"".join(leaf for (leaf,) in rows)
