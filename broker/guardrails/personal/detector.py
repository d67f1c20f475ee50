"""Where does a message speak of a person in numbers and addresses?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from broker.documents import Node
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import SEAM, Message
from broker.guardrails.personal import checks, contact, national, vat

# Each begins with one class of characters: `re` looks for those in C before it tries anything.
_RUN = re.compile(
    r"[+(\d](?:(?<=\d)\d{5}[-+A-FU-Y]\d{3}[0-9A-Y](?![\w-])|(?<=\d)\d{6,7}-?[A-Z]{1,2}(?![\w-])|"
    r"[\d().\-/ \u00a0\u202f+]{5,32}\d(?:x\d{2,5}(?!\w))?)"
)
_LETTERS = re.compile(r"[A-Z][A-Z0-9]{1,7}[ -]?\d[A-Z0-9 -]{4,40}")
_NO_DIGITS = dict.fromkeys((*range(48), *range(58, 128)))
_WORDS = re.compile(r"[^\s\u00a0\u202f]+")
_IBAN = re.compile(r"[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?")
_IBAN_LENGTHS = {
    "AD": 24,
    "AT": 20,
    "BE": 16,
    "BG": 22,
    "CH": 21,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "EE": 20,
    "ES": 24,
    "FI": 18,
    "FO": 18,
    "FR": 27,
    "GB": 22,
    "GI": 23,
    "GL": 18,
    "GR": 27,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IS": 26,
    "IT": 27,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "MC": 27,
    "MD": 24,
    "ME": 22,
    "MK": 19,
    "MT": 31,
    "NL": 18,
    "NO": 15,
    "PL": 28,
    "PT": 25,
    "RO": 24,
    "RS": 22,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "TR": 26,
    "UA": 29,
    "VA": 22,
}
_CARD = re.compile(
    r"(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6(?:011|4[4-9]\d|5\d\d|[37]\d\d)|3[47]\d\d|35\d\d|3[068]\d\d|50\d\d|5[678]\d\d|62\d\d)\d{9,15}"
)
_CARD_FORM = re.compile(r"\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}")
_COUNTED = re.compile(r"\s*(?:units|pcs|pieces|items|rows|bytes|ms\b|tokens|records)")
_GOODS = re.compile(r"\bean\b|\bgtin|isbn|issn|imei|barcode|\bupc\b|\bsku\b|serial|tracking")
_CONTEXT = 48
_GLUE = re.compile(r"[\w.,:@#$/\\=+-]")
_MOST_WORDS = 8

_GROUPS = {
    "email": "contact",
    "phone": "contact",
    "ip-address": "network",
    "date-of-birth": "birth",
    "iban": "financial",
    "payment-card": "financial",
    "vat-id": "business",
}
_IDS = {i.type for group in national.BY_DIGITS.values() for i in group} | {
    i.type for i in (*national.WITH_LETTERS, *national.LETTERS_FIRST)
}

PERSONAL = "personal"
NAMES_A_PERSON = frozenset({"contact", "financial", "national-id"})
"""The groups whose findings are one person's, so that the person is found again by them."""


class Personal:
    """The detector `personal`."""

    name = PERSONAL
    version = 1
    always = True
    literals: frozenset[str] = frozenset()
    stages = frozenset(Stage)
    types: Mapping[str, str] = {**_GROUPS, **dict.fromkeys(sorted(_IDS), "national-id")}

    def detect(self, message: Message, _: Hits, /) -> Sequence[Span]:
        """All identifiers; see `Detector.detect`."""
        spans: list[Span] = []
        if "@" in message.text:
            spans += _emails(message)
        if _has_digits(message.text):
            spans += _numbers(message)
            spans += _with_letters(message)
            spans += _addresses(message)
            spans += _births(message)
        return spans


_ANY_DIGITS = re.compile(r"\d[\d ./:()-]{0,2}\d")


def _has_digits(text: str) -> bool:
    return _ANY_DIGITS.search(text) is not None


def _before(message: Message, start: int) -> str:
    """What stands before a place in its own text, after the key it stands under; in lower case."""
    number = message.number_at(start)
    left = message.lower[max(message.starts[number], start - _CONTEXT) : start]
    if start - message.starts[number] < _CONTEXT:
        return f"{message.passages[number].name.lower()} {left}".replace("_", " ")
    return left


def _emails(message: Message) -> Iterator[Span]:
    text, at = message.text, message.text.find("@")
    while at >= 0:
        left = text[max(0, at - 64) : at]
        local = left[len(left.rstrip(contact.LOCAL)) :].lstrip("'.%-+")
        domain = contact.DOMAIN.match(text, at + 1)
        if (
            local
            and domain
            and contact.is_email(f"{local}@{domain[0]}", text[domain.end() : domain.end() + 1])
        ):
            yield Span(at - len(local), domain.end(), "email")
        at = text.find("@", at + 1)


def _addresses(message: Message) -> Iterator[Span]:
    text = message.text
    patterns = [contact.IPV4] if "::" not in text and text.count(":") < 3 else [contact.IPV4, contact.IPV6]
    for pattern in patterns:
        for found in message.matches(pattern):
            start, end = found.span()
            if _is_glued(text, start, end, ".:-"):
                continue
            if contact.is_address(found[0], _before(message, start)):
                yield Span(start, end, "ip-address")


def _births(message: Message) -> Iterator[Span]:
    for found in message.matches(contact.DATE):
        before = _before(message, found.start())[-24:].rpartition("\n")[2]
        if contact.BIRTH.search(before):
            yield Span(found.start(), found.end(), "date-of-birth")


def _numbers(message: Message) -> Iterator[Span]:
    """Identifiers that begin with a digit, `+` or `(`."""
    for found in message.matches(_RUN):
        words = [(found.start() + w.start(), found.start() + w.end()) for w in _WORDS.finditer(found[0])]
        first = 0
        while first < len(words):
            span, first = _longest(message, words, first)
            if span:
                yield span


def _longest(message: Message, words: Sequence[tuple[int, int]], first: int) -> tuple[Span | None, int]:
    """The longest identifier that begins with a word, and where to go on."""
    text, start = message.text, words[first][0]
    if _is_glued(text, start, start, ".-"):
        return None, first + 1
    before = _before(message, start)
    for last in range(min(len(words), first + _MOST_WORDS) - 1, first - 1, -1):
        end = words[last][1]
        if kind := _identify(text, start, end, before):
            return Span(start, end, kind), last + 1
    return None, first + 1


def _identify(text: str, start: int, end: int, before: str) -> str | None:
    after = text[end : end + 12]
    if after and (_is_word(after[0]) or (after[0] in ".-" and _is_word(after[1:2]))):
        return None
    piece = text[start:end].replace("\u00a0", " ").replace("\u202f", " ")
    digits = piece.partition("x")[0].translate(_NO_DIGITS)
    sound = 7 <= len(digits) <= 19 and digits.isascii()
    return _kind(piece, digits, before, after) if sound else None


def _kind(piece: str, digits: str, before: str, after: str) -> str | None:
    size = len(digits)
    if size >= 13 and _CARD_FORM.fullmatch(piece) and _CARD.fullmatch(digits) and checks.luhn(digits):
        goods = _COUNTED.match(after) or _GOODS.search(before[-16:])
        return None if goods else "payment-card"
    for known in national.BY_DIGITS.get(size, ()):
        fits = known.form.fullmatch(piece) and known.check(digits)
        if fits and not _COUNTED.match(after) and (known.bare or known.words.search(before)):
            return known.type
    if not piece[-1].isdigit() or not piece.replace(" ", "").isdecimal():
        for known in national.WITH_LETTERS:
            plain = piece.replace("-", "") if known.type == "es-dni" else piece
            if (
                known.form.fullmatch(piece)
                and known.check(plain)
                and (known.bare or known.words.search(before))
            ):
                return known.type
    alone = not after[:2].strip().isdigit()
    return "phone" if contact.is_phone(piece, size, before, alone=alone) else None


def _with_letters(message: Message) -> Iterator[Span]:
    """Identifiers that begin with letters."""
    text = message.text
    for found in message.matches(_LETTERS):
        start = found.start()
        if _is_glued(text, start, start, ""):
            continue
        before = _before(message, start)
        end, kind = _lettered(text, start, before)
        if kind and not _is_word(text[end : end + 1]):
            yield Span(start, end, kind)


def _lettered(text: str, start: int, before: str) -> tuple[int, str | None]:
    if found := _IBAN.match(text, start):
        size = _IBAN_LENGTHS.get(text[start : start + 2])
        end = _after_characters(text, start, size) if size else start
        plain = text[start:end].replace(" ", "")
        if size and len(plain) == size and plain.isascii() and plain.isalnum() and checks.iban(plain):
            return end, "iban"
    if (
        (found := vat.VAT.match(text, start))
        and found[0].isascii()
        and vat.is_vat(found[0], announced=vat.WORDS.search(before) is not None)
    ):
        return found.end(), "vat-id"
    for known in national.LETTERS_FIRST:
        found = known.form.match(text, start)
        if found and (known.bare or known.words.search(before)):
            plain = found[0].replace(" ", "").replace("-", "")
            if plain.isascii() and known.check(plain):
                return found.end(), known.type
    return start, None


def _after_characters(text: str, start: int, count: int) -> int:
    """The offset after so many characters that are no spaces."""
    at = start
    while count and at < len(text) and text[at] != SEAM[0]:
        count -= text[at] != " "
        at += 1
    return at


def _is_glued(text: str, start: int, end: int, joins: str) -> bool:
    """Whether a piece is a part of a longer word: `a1`, `1.5`, `x-1`."""
    if start and (_is_word(text[start - 1]) or text[start - 1] in joins):
        return True
    if end <= start or end >= len(text):
        return False
    after = text[end]
    return _is_word(after) or (after in joins and _is_word(text[end + 1 : end + 2]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


@cache
def _personal() -> Personal:
    return Personal()


def make_personal(settings: Node | None) -> Personal:
    """The guard `personal`.

    Raises:
        ConfigurationError: it has no settings.
    """
    if settings is not None:
        settings.mapping(())
    return _personal()
