"""VAT identification numbers (Directive 2006/112/EC art. 215; forms as VIES has them)."""

import re
from collections.abc import Callable, Mapping

from broker.guardrails.personal import checks

_FORMS: Mapping[str, str] = {
    "AT": r"U\d{8}",
    "BE": r"[01]\d{9}",
    "BG": r"\d{9,10}",
    "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}",
    "DE": r"[1-9]\d{8}",
    "DK": r"\d{8}",
    "EE": r"10\d{7}",
    "EL": r"\d{9}",
    "ES": r"[A-Z]\d{7}[A-Z0-9]|\d{8}[A-Z]",
    "FI": r"\d{8}",
    "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}",
    "GB": r"\d{9}|\d{12}|GD[0-4]\d\d|HA[5-9]\d\d",
    "HR": r"\d{11}",
    "HU": r"\d{8}",
    "IE": r"\d[A-Z0-9+*]\d{5}[A-W][A-I]?",
    "IT": r"\d{11}",
    "LT": r"\d{9}|\d{12}",
    "LU": r"\d{8}",
    "LV": r"\d{11}",
    "MT": r"\d{8}",
    "NL": r"\d{9}B\d\d",
    "PL": r"\d{10}",
    "PT": r"\d{9}",
    "RO": r"[1-9]\d{1,9}",
    "SE": r"\d{10}01",
    "SI": r"[1-9]\d{7}",
    "SK": r"\d{10}",
    "XI": r"\d{9}|\d{12}",
}

VAT = re.compile("|".join(f"{country}(?:{form})" for country, form in _FORMS.items()))
WORDS = re.compile(
    r"\bvat\b|\bust|umsatzsteuer|\buid\b|\btva\b|\biva\b|\bbtw\b|\bmoms|\bmwst|\bnip\b|\bdi[cč]\b|\bic dph|"
    r"\balv\b|\bpvm\b|\bpvn\b|\bkmkr|\bpdv\b|\bddv\b|\báfa|\bφπ\u03b1|\u0434\u0434\u0441|partita|\bcif\b|\btax"
)


def _be(d: str) -> bool:
    return 97 - int(d[:8]) % 97 == int(d[8:])


def _fr(d: str) -> bool:
    return not d[:2].isdigit() or (int(d[2:]) * 100 + 12) % 97 == int(d[:2])


def _at(d: str) -> bool:
    total = sum(sum(divmod(int(c) * (1 + i % 2), 10)) for i, c in enumerate(d[1:8]))
    return -(total + 4) % 10 == int(d[8])


def _mod_11(weights: range | tuple[int, ...]) -> Callable[[str], bool]:
    return lambda d: checks.weighted(d, weights) % 11 == 0


def _fi(d: str) -> bool:
    return checks.weighted(d, (7, 9, 10, 5, 8, 4, 2, 1)) % 11 == 0


def _hu(d: str) -> bool:
    return checks.weighted(d, (9, 7, 3, 1, 9, 7, 3, 1)) % 10 == 0


def _lu(d: str) -> bool:
    return int(d[:6]) % 89 == int(d[6:])


def _nl(d: str) -> bool:
    old = checks.dutch(d[:9])
    return old or int("".join(str(int(c, 36)) for c in f"NL{d}")) % 97 == 1


def _pl(d: str) -> bool:
    return checks.weighted(d, (6, 5, 7, 2, 3, 4, 5, 6, 7, -1)) % 11 == 0


def _si(d: str) -> bool:
    return -checks.weighted(d, range(8, 1, -1)) % 11 % 10 == int(d[7])


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "AT": _at,
    "BE": _be,
    "DE": checks.mod_11_10,
    "DK": _mod_11((2, 7, 6, 5, 4, 3, 2, 1)),
    "EL": checks.greek_afm,
    "FI": _fi,
    "FR": _fr,
    "HR": checks.mod_11_10,
    "HU": _hu,
    "IT": checks.luhn,
    "LU": _lu,
    "NL": _nl,
    "PL": _pl,
    "PT": checks.portuguese,
    "SE": lambda d: checks.luhn(d[:10]),
    "SI": _si,
}


def is_vat(number: str, *, announced: bool) -> bool:
    """Whether a text that has the form of a VAT number is one: its check digit, else a word before it.

    Old French keys with letters and countries without a published check need the word.
    """
    check = _CHECKS.get(number[:2])
    if check is None or (number.startswith("FR") and not number[2:4].isdigit()):
        return announced
    return check(number[2:])
