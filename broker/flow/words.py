"""Which values does a text hold? Words in one form, whoever wrote them how, and only their keyed hashes.

A word is what stands between spaces, quotes, brackets, commas and the like: an e-mail address, a URL, an
account, a path, a name, a number. Case, Unicode forms, scheme and `www.` of a URL, the zeros of `98.70` make
no difference. Of a URL the host counts as a word too, of an address the domain.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

MOST_CHARS = 64 * 1024
"""How much of one result is looked at, in characters."""

LONGEST = 512
"""A word with more characters is none."""

_REMEMBERED = 50_000
_INVISIBLE = dict.fromkeys(
    [0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF]
)
_BREAKS = str.maketrans(dict.fromkeys("\"'`<>()[]{},;|\x00“”‘’«»", " ") | {"\\": "/"})  # noqa: RUF001 - quotes
_ENDS = ".:!?*"
_STARTS = ":!?*"
_NUMBER = re.compile(r"[$€£]?[0-9]+(?:\.[0-9]+)?[$€£%]?")
_SLASHES = re.compile(r"/{2,}")
_FILLER = frozenset(
    {"a", "an", "and", "at", "by", "de", "for", "in", "la", "le", "of", "on", "or", "the", "to"}
)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a value: hashes of it and of the host or domain in it.

    Whoever controls a host gets all that is sent there; at a domain an address is a person of its own.
    `own` is None for a word that is too long to be known.
    """

    own: bytes | None
    host: bytes | None = None
    domain: bytes | None = None


class Words:
    """Finds words and hashes them; remembers the hashes of many, because the same words come again.

    Args:
        key: keys the hashes; 256 random bits of this deployment.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(digest_size=16, key=key, person=b"broker/flow")
        self._known: dict[str, tuple[bytes, ...]] = {}

    def digest(self, data: bytes) -> bytes:
        """The keyed hash of some bytes."""
        digest = self._keyed.copy()
        digest.update(data)
        return digest.digest()

    def hash(self, text: str) -> bytes:
        """The keyed hash of a text; half a surrogate pair is one like any other."""
        return self.digest(text.encode("utf-8", "surrogatepass"))

    def of(self, text: str) -> set[bytes]:
        """The hashes of all words of a text, and of the hosts and domains in them."""
        found: set[bytes] = set()
        known = self._known
        for raw in set(_split(text)):
            found.update(known.get(raw) or self._hashed(raw))
        return found

    def of_value(self, value: str) -> list[Word]:
        """The words of one value, without those that say nothing; all of them if none says anything."""
        raws = [raw for raw in _split(value) if raw.strip(_ENDS)]
        return [self._word(raw) for raw in [raw for raw in raws if raw not in _FILLER] or raws]

    def _word(self, raw: str) -> Word:
        digests = self._known.get(raw) or self._hashed(raw)
        if len(digests) < 2 or ("=" in raw and "/" not in raw):
            return Word(digests[0] if digests else None)
        return Word(digests[0], domain=digests[1]) if "@" in raw and "://" not in raw else Word(*digests)

    def _hashed(self, raw: str) -> tuple[bytes, ...]:
        digests = tuple(map(self.hash, _words(raw)))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        if len(raw) <= LONGEST:
            self._known[raw] = digests
        return digests


def texts(content: Any) -> tuple[list[str], bool]:
    """Every text in a JSON value, keys and numbers included, and whether there is more than is looked at."""
    found: list[str] = []
    left = MOST_CHARS
    todo = [content]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            fields = cast("dict[str, Any]", item)
            todo += fields.keys()
            todo += fields.values()
        elif isinstance(item, list):
            todo += cast("list[Any]", item)
        elif isinstance(item, str | int | float) and not isinstance(item, bool):
            text = str(item)
            found.append(text[:left])
            left -= len(text)
            if left < 0:
                return found, True
    return found, False


def fields(content: Any, paths: Iterable[str]) -> list[str]:
    """What stands in some fields of a structured result, each item of a list taken by itself.

    Only a text of one word, or a whole number: prose has no owner, whatever field it is in.
    """
    found: list[str] = []
    for path in paths:
        items = [content]
        for name in path.split("."):
            items = [
                cast("dict[str, Any]", item).get(name) for item in _each(items) if isinstance(item, dict)
            ]
        values = [item for item in _each(items) if isinstance(item, str | int) and not isinstance(item, bool)]
        found += [text for text in map(str, values) if len(text) <= LONGEST and len(_split(text)) == 1]
    return found


def _each(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, list):
            yield from _each(cast("list[Any]", item))
        else:
            yield item


def normal(text: str) -> str:
    """The text in the form in which its words are looked for: without differences of case and of Unicode."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
    return text.casefold()


def _split(text: str) -> list[str]:
    if "\\n" in text:  # JSON within a text
        text = text.replace("\\n", " ")
    return normal(text).translate(_BREAKS).split()


def _words(raw: str) -> Iterator[str]:
    word = raw.rstrip(_ENDS).lstrip(_STARTS)
    if not word or len(word) > LONGEST:
        return
    if "=" in word and "/" not in word:
        for part in (word, *word.split("=")):
            yield from _forms(part.strip(_ENDS))
    else:
        yield from _forms(word)


def _forms(word: str) -> Collection[str]:
    """The word in the form in which it is compared, and the host or domain in it."""
    if _NUMBER.fullmatch(word):
        number = word.strip("$€£%")
        return (number.rstrip("0").rstrip(".") if "." in number else number,)
    if "@" in word and "://" not in word:
        word = word.removeprefix("mailto:")
        return word, f"@{word.rpartition('@')[2]}"
    scheme, is_url, rest = word.partition("://")
    word = (rest if is_url else scheme).partition("#")[0] if is_url else word
    word = _SLASHES.sub("/", word).removeprefix("./").removeprefix("www.").rstrip("/") or "/"
    host, _, path = word.partition("/")
    host = host.rpartition("@")[2].removesuffix(":443").removesuffix(":80")
    if path and "." in host.strip("."):
        return f"{host}/{path}", host
    return (word,)
