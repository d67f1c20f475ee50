"""How are proofs made without reading the whole log? From stored hashes, 256 at a time (C2SP tlog-tiles).

Tile `n` of level 0 holds the hashes of leaves `256 n` and on; a hash of level `k + 1` is the root over a full
tile of level `k`. A proof then needs a few tiles, however long the log is.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256

from broker.audit.tree import push, root_of, tree_root

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32

Tile = Callable[[int, int], Awaitable[bytes]]
"""The hashes of a tile by level and number, as many as there are."""


class MissingHashesError(Exception):
    """The stored hashes do not reach as far as they should."""


def split(hashes: bytes) -> list[bytes]:
    """Concatenated hashes, one by one."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def tile_root(hashes: bytes) -> bytes:
    """The hash that a full tile has in the level above."""
    pair = 2 * HASH_BYTES
    while len(hashes) > HASH_BYTES:
        hashes = b"".join(
            [sha256(b"\1" + hashes[at : at + pair]).digest() for at in range(0, len(hashes), pair)]
        )
    return hashes


def path(level: int, n: int, width: int = WIDTH) -> str:
    """Where a tile lies in the tlog-tiles layout, below the log's own address.

    Args:
        level: its level.
        n: its number.
        width: how many hashes it holds; a partial tile has another path than the full one.
    """
    return f"tile/{level}/{numbered(n)}" + (f".p/{width}" if width < WIDTH else "")


def entries_path(n: int, width: int = WIDTH) -> str:
    """Where the records lie whose hashes are in tile `n` of level 0."""
    return f"tile/entries/{numbered(n)}" + (f".p/{width}" if width < WIDTH else "")


def numbered(n: int) -> str:
    """A tile's number as a path: three digits a folder, all but the last marked with `x`."""
    text = f"{n % 1000:03}"
    while n := n // 1000:
        text = f"x{n % 1000:03}/{text}"
    return text


class GrowingTree:
    """The tree over leaves that come one by one and are hashed a tile at a time, which costs half as much."""

    def __init__(self) -> None:
        self.last_tile = b""
        """The hashes of the last tile that became full."""
        self._tiles = 0
        self._above: list[bytes] = []
        self._open: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take in the hash of the next leaf."""
        self._open.append(leaf)
        if len(self._open) == WIDTH:
            self.last_tile = b"".join(self._open)
            push(self._above, self._tiles, tile_root(self.last_tile))
            self._tiles += 1
            self._open.clear()

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        frontier = list(self._above)
        for at, leaf in enumerate(self._open):
            push(frontier, at, leaf)
        return root_of(frontier)


class TiledTree:
    """Makes the proofs of `broker.audit.tree` for a tree of which only tiles are read.

    Args:
        tile: reads one.
    """

    def __init__(self, tile: Tile) -> None:
        self._tile = tile
        self._read: dict[tuple[int, int], bytes] = {}

    async def root(self, size: int) -> bytes:
        """The root over the first `size` leaves.

        Raises:
            MissingHashesError: fewer are stored.
        """
        return await self._root(0, size) if size else tree_root(())

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that leaf `index` is in the tree of `size` (RFC 9162 §2.1.3.1).

        Raises:
            IndexError: there is no such leaf.
            MissingHashesError: the tree is not as large.
        """
        if not 0 <= index < size:
            raise IndexError(f"leaf {index} of a tree of {size}")
        steps: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                steps.append(await self._root(middle, end))
                end = middle
            else:
                steps.append(await self._root(start, middle))
                start = middle
        return steps[::-1]

    async def consistency(self, old_size: int, size: int) -> list[bytes]:
        """The proof that the tree of `old_size` is a prefix of that of `size` (RFC 9162 §2.1.4.1).

        Raises:
            IndexError: the tree never had that size, or it was empty then.
            MissingHashesError: the tree is not as large.
        """
        if not 0 < old_size <= size:
            raise IndexError(f"size {old_size} of a tree of {size}")
        steps: list[bytes] = []
        start, end, whole = 0, size, True
        while old_size != end:
            middle = start + _split(end - start)
            if old_size <= middle:
                steps.append(await self._root(middle, end))
                end = middle
            else:
                steps.append(await self._root(start, middle))
                start, whole = middle, False
        if not whole:
            steps.append(await self._root(start, end))
        return steps[::-1]

    async def _root(self, start: int, end: int) -> bytes:
        """The root over a run of leaves that a proof asks for: its perfect parts, put together."""
        parts: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            parts.append(await self._perfect(start, height))
            start += 1 << height
        return root_of(parts)

    async def _perfect(self, start: int, height: int) -> bytes:
        """The root over `2 ** height` leaves from `start`, which that divides."""
        level, rest = divmod(height, HEIGHT)
        n, first = divmod(start >> (level * HEIGHT), WIDTH)
        hashes = self._read.get((level, n))
        if hashes is None:
            hashes = self._read[level, n] = await self._tile(level, n)
        run = split(hashes[first * HASH_BYTES : (first + (1 << rest)) * HASH_BYTES])
        if len(run) < 1 << rest:
            raise MissingHashesError(f"tile {n} of level {level} ends after {len(hashes) // HASH_BYTES}")
        return tree_root(run)


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
