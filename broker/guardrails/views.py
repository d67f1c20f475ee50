"""How else can a text be read? Decoded, and without what is hidden in it.

A view is read only where there is something to decode, as one further message for all texts together, and
once more for what comes to light in it. Nothing of a view is ever passed on: a finding in one leads back to
the stretch of the original that spells it, which is acted on as a whole.
"""

import base64
import binascii
import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from broker.guardrails.hidden import SELECTORS, TAGS
from broker.guardrails.message import SEAM, Message, Passage, View

DEPTH = 2
"""How often what was decoded is decoded again."""

_LONG_WORD = 24
_AROUND = 160
"""Characters on either side that belong to what reads otherwise: more than any context that is looked at."""
_MOST_RUNS = 8
_MOST_DECODED = 2_000
_MOST_TOTAL = 1 << 20
_PRINTABLE = 0.95

_STRIPPED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef]+"
)
_BIDI = re.compile("[\u202d\u202e]")
_CONFUSABLE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04cf\u0501\u051b\u051d\u0261\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf\u03c1\u03bd\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405\u04bb\u0131\u03b1\u03b9",
    "aeopcyxijsldqwgABEZHIKMNOPTYXopvABEKMHOPCTYXIJShiai",
)
_FOREIGN_WORD = re.compile(
    "[A-Za-z\u0131\u0261\u0370-\u03ff\u0400-\u052f]*[\u0131\u0261\u0370-\u03ff\u0400-\u052f][A-Za-z\u0131\u0261\u0370-\u03ff\u0400-\u052f]*"
)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrt\"'/\\])")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,24});")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_WEB_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
"""Its parts are base64, but what it says is for whom it is meant; it is found as what it is."""
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){12,}")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t"}


class _Piece(NamedTuple):
    """A stretch of a view: where it begins there, and what of the original it stands for."""

    at: int
    start: int
    end: int
    same: bool
    """Character for character; else the whole stretch stands for the whole."""


class _Reading(NamedTuple):
    """One text, read in another way; the pieces' offsets begin at 0 here and are the message's there."""

    number: int
    via: str
    text: str
    pieces: list[_Piece]


_Change = tuple[int, int, str]
"""Start and end in the message, and what stands there in the view."""


def views_of(message: Message, depth: int = DEPTH) -> Iterator[View]:
    """The other readings of a message; nothing where there is nothing to decode."""
    readings: list[_Reading] = []
    total = 0
    for reading in _readings(message):
        if not reading.pieces:
            continue  # nothing but invisible characters
        total += len(reading.text)
        if total > _MOST_TOTAL + 4 * len(message.text):
            raise ValueError("decodes to more than may be read")
        readings.append(reading)
    if not readings:
        return
    view = _view(message, readings)
    yield view
    if depth > 1:
        for inner in views_of(view.message, depth - 1):
            yield _through(view, inner)


def _through(outer: View, inner: View) -> View:
    """A view of a view, as a view of the original."""

    def origin(start: int, end: int) -> tuple[int, int]:
        return outer.origin(*inner.origin(start, end))

    def via(at: int) -> str:
        return f"{outer.via(inner.origin(at, at + 1)[0])}/{inner.via(at)}"

    return View(inner.message, origin, via)


def _view(message: Message, readings: Sequence[_Reading]) -> View:
    passages = [_passage(message.passages[r.number], r) for r in readings]
    derived = Message(passages, message.stage, message.scene)
    derived.deadline = message.deadline
    pieces = [
        piece._replace(at=piece.at + start)
        for reading, start in zip(readings, derived.starts, strict=True)
        for piece in reading.pieces
    ]
    places = [piece.at for piece in pieces]

    def origin(start: int, end: int) -> tuple[int, int]:
        first = pieces[bisect_right(places, start) - 1]
        last = pieces[bisect_right(places, max(start, end - 1)) - 1]
        return (
            first.start + (start - first.at) if first.same else first.start,
            last.start + (end - last.at) if last.same else last.end,
        )

    return View(derived, origin, lambda at: readings[derived.number_at(at)].via)


def _passage(original: Passage, reading: _Reading) -> Passage:
    """What a part of a text decodes to is not the value that the key above it speaks of."""
    name = "" if len(reading.pieces) == 1 and not reading.pieces[0].same else original.name
    return replace(original, value=reading.text, name=name)


def _readings(message: Message) -> Iterator[_Reading]:
    text = message.text
    plain = text.isascii()
    escaped, percent, entity = "\\" in text, "%" in text, "&" in text and ";" in text
    long_words = len(max(text.split(), key=len, default="")) >= _LONG_WORD
    if plain and not (escaped or percent or entity or long_words):
        return
    for number in range(len(message.passages)):
        start, end = message.bounds(number)
        if not plain and not message.passages[number].value.isascii():
            yield from _unhidden(message, number)
        if escaped:
            yield from _changed(message, number, "escapes", _unescaped(text, start, end))
        if percent:
            yield from _changed(message, number, "percent", _unquoted(text, start, end))
        if entity:
            yield from _changed(message, number, "entities", _entities(text, start, end))
        if long_words and end - start >= _LONG_WORD:
            yield from _decoded(text, start, end, number)


def _changed(message: Message, number: int, via: str, changes: Iterable[_Change]) -> Iterator[_Reading]:
    """The stretches of a passage around what reads otherwise, with that replaced."""
    start, end = message.bounds(number)
    near: list[_Change] = []
    for change in changes:
        if near and change[0] - near[-1][1] > 2 * _AROUND:
            yield _stretch(message.text, start, end, _Reading(number, via, "", []), near)
            near = []
        near.append(change)
    if near:
        yield _stretch(message.text, start, end, _Reading(number, via, "", []), near)


def _stretch(text: str, start: int, end: int, reading: _Reading, changes: Sequence[_Change]) -> _Reading:
    out: list[str] = []
    done, at = max(start, changes[0][0] - _AROUND), 0
    end = min(end, changes[-1][1] + _AROUND)
    for first, last, new in (*changes, (end, end, "")):
        if first > done:
            reading.pieces.append(_Piece(at, done, first, same=True))
            out.append(text[done:first])
            at += first - done
        if new:
            reading.pieces.append(_Piece(at, first, last, same=False))
            out.append(new)
            at += len(new)
        done = last
    return reading._replace(text="".join(out))


def _unhidden(message: Message, number: int) -> Iterator[_Reading]:
    start, end = message.bounds(number)
    passage = message.passages[number].value
    for via, pattern, decode in (("tags", TAGS, _tags), ("selectors", SELECTORS, _selected)):
        for found in pattern.finditer(passage):
            if spelled := decode(found[0]):
                where = _Piece(0, start + found.start(), start + found.end(), same=False)
                yield _Reading(number, via, spelled, [where])
    yield from _changed(message, number, "normalised", _normalised(passage, start))
    if _BIDI.search(passage):
        whole = _Piece(0, start, end, same=False)
        yield _Reading(number, "reversed", passage[::-1], [whole])


def _tags(run: str) -> str:
    return "".join(chr(ord(c) - 0xE0000) for c in run)


def _selected(run: str) -> str:
    data = bytes(ord(c) - 0xFE00 if ord(c) < 0xFF00 else ord(c) - 0xE0100 + 16 for c in run)
    return data.decode("utf-8", errors="replace")


def _normalised(passage: str, start: int) -> Iterator[_Change]:
    """Invisible characters, compatibility forms and look-alikes, each as it reads."""
    changes = {
        place: (place, place + 1, plain) for place, plain in [*_compatible(passage), *_look_alikes(passage)]
    }
    for found in _STRIPPED.finditer(passage):
        changes |= {place: (place, place + 1, "") for place in range(*found.span())}
    for place in sorted(changes):
        first, last, new = changes[place]
        yield start + first, start + last, new


def _compatible(passage: str) -> Iterator[tuple[int, str]]:
    if unicodedata.is_normalized("NFKC", passage):
        return
    for place, character in enumerate(passage):
        if not character.isascii() and (plain := unicodedata.normalize("NFKC", character)) != character:
            yield place, plain


def _look_alikes(passage: str) -> Iterator[tuple[int, str]]:
    """Greek and Cyrillic letters in words that can be read as Latin."""
    for found in _FOREIGN_WORD.finditer(passage):
        latin = found[0].translate(_CONFUSABLE)
        if latin.isascii():
            pairs = enumerate(zip(found[0], latin, strict=True), found.start())
            yield from ((place, new) for place, (old, new) in pairs if old != new)


def _unescaped(text: str, start: int, end: int) -> Iterator[_Change]:
    for found in _ESCAPE.finditer(text, start, end):
        kind, code = found[0][1], found[0][2:]
        plain = chr(int(code, 16)) if code else _SIMPLE.get(kind, kind)
        yield found.start(), found.end(), plain if not "\ud800" <= plain <= "\udfff" else "\ufffd"


def _unquoted(text: str, start: int, end: int) -> Iterator[_Change]:
    for found in _PERCENT.finditer(text, start, end):
        yield found.start(), found.end(), unquote_to_bytes(found[0]).decode("utf-8", errors="replace")


def _entities(text: str, start: int, end: int) -> Iterator[_Change]:
    for found in _ENTITY.finditer(text, start, end):
        plain = html.unescape(found[0])
        if plain != found[0]:
            yield found.start(), found.end(), plain


def _decoded(text: str, start: int, end: int, number: int) -> Iterator[_Reading]:
    tokens = [found.span() for found in _WEB_TOKEN.finditer(text, start, end)]
    for via, pattern, decode in (("base64", _BASE64, _from_base64), ("hex", _HEX, _from_hex)):
        runs = 0
        for found in pattern.finditer(text, start, end):
            if any(first <= found.start() < last for first, last in tokens):
                continue
            plain = decode(found[0])
            if plain is None:
                continue
            runs += 1
            if runs > _MOST_RUNS:
                break
            yield _Reading(number, via, plain, [_Piece(0, found.start(), found.end(), same=False)])


def _from_base64(run: str) -> str | None:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")[: _MOST_DECODED * 4 // 3]
    try:
        return _text(
            base64.b64decode(
                body[: len(body) // 4 * 4 if len(body) % 4 == 1 else None] + "=" * (-len(body) % 4)
            )
        )
    except (binascii.Error, ValueError):
        return None


def _from_hex(run: str) -> str | None:
    return _text(bytes.fromhex(run[: _MOST_DECODED * 2]))


def _text(data: bytes) -> str | None:
    """The text that bytes spell, if they do."""
    text = data.decode("utf-8", errors="replace")
    broken, least = text.count("\ufffd"), _PRINTABLE * len(text)
    if not text or len(text) - broken < least:  # most of what looks encoded is not, and ends here
        return None
    shown = sum(c.isprintable() or c in "\n\r\t" for c in text) - broken
    return text.replace(SEAM, " ") if shown >= least else None
