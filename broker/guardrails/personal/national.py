"""Which numbers identify a person to a state? The 27 countries of the EU, the United Kingdom and the US."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.guardrails.personal import checks


@dataclass(frozen=True, slots=True)
class Identifier:
    """One kind of number: how it is written, what checks it, and which words announce it.

    `form` is how it may be written; where writing it so is proof enough together with the check, `bare`
    is true, and no word has to announce it.
    """

    type: str
    form: re.Pattern[str]
    check: Callable[[str], bool]
    words: re.Pattern[str]
    bare: bool = False


def _words(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words))


_ID = r"\bid\b|\bident|personal.?(?:id|n)|national.?(?:id|n)|tax.?(?:id|n)|\btin\b|ssn|social.?sec"


def _by_digits(
    kind: str, form: str, check: Callable[[str], bool], *words: str, bare: bool = False
) -> Identifier:
    return Identifier(kind, re.compile(form), check, _words(_ID, *words), bare)


BY_DIGITS: Mapping[int, tuple[Identifier, ...]] = {
    9: (
        _by_digits("us-ssn", r"\d{3}-\d\d-\d{4}", checks.ssn, "sécurité", "seguridad", bare=True),
        _by_digits(
            "nl-bsn",
            r"\d{9}|\d{4}\.\d\d\.\d{3}|\d{3} \d{3} \d{3}",
            checks.dutch,
            "bsn",
            "burgerservice",
            "sofi",
        ),
        _by_digits(
            "pt-nif", r"\d{9}|\d{3} \d{3} \d{3}", checks.portuguese, r"\bnif\b", "contribuinte", "fiscal"
        ),
        _by_digits(
            "hu-taj", r"\d{9}|\d{3}[ -]\d{3}[ -]\d{3}", checks.hungarian_taj, r"\btaj\b", "társadalombiztos"
        ),
        _by_digits("gr-afm", r"\d{9}", checks.greek_afm, r"\bafm\b", "αφμ"),
        _by_digits("us-ssn", r"\d{9}|\d{3} \d\d \d{4}", checks.ssn, "sozialvers"),
    ),
    10: (
        _by_digits("uk-nhs", r"\d{10}|\d{3}[ -]\d{3}[ -]\d{4}", checks.nhs, r"\bnhs"),
        _by_digits("se-personnummer", r"\d{6}[-+]\d{4}", checks.swedish, "personn", "samordning", bare=True),
        _by_digits("cz-sk-rodne-cislo", r"\d{6}/\d{4}", checks.czech, "rodn", r"\brč", r"\brc\b", bare=True),
        _by_digits("se-personnummer", r"\d{10}", checks.swedish, "personn", "samordning"),
        _by_digits("cz-sk-rodne-cislo", r"\d{10}", checks.czech, "rodn", r"\brč", r"\brc\b"),
        _by_digits(
            "at-svnr", r"\d{10}|\d{4}[ /-]\d{6}", checks.austrian, "sozialvers", r"\bsv", "svnr", "vsnr"
        ),
        _by_digits("bg-egn", r"\d{10}", checks.bulgarian, r"\begn\b", "егн"),
        _by_digits("hu-tax-id", r"\d{10}", checks.hungarian_tax, "adóazon", "adoazon"),
        _by_digits("dk-cpr", r"\d{6}-?\d{4}", checks.danish, r"\bcpr\b", "personnummer"),
    ),
    11: (
        _by_digits("be-rijksregister", r"\d\d\.\d\d\.\d\d-\d{3}[.-]\d\d", checks.belgian, bare=True),
        _by_digits("lv-personas-kods", r"\d{6}-\d{5}", checks.latvian, "personas", r"\bp\.?k\b"),
        _by_digits(
            "be-rijksregister",
            r"\d{11}|\d{6}[ -]\d{3}[ -]\d\d",
            checks.belgian,
            "rijksregister",
            "registre national",
            r"\bnrn\b",
            "insz",
            "niss",
            "nationalregister",
        ),
        _by_digits(
            "de-tax-id", r"\d{11}|\d\d \d{3} \d{3} \d{3}", checks.german_tax, "steuer", r"\bidnr", "idn[ro]"
        ),
        _by_digits("pl-pesel", r"\d{11}", checks.polish, "pesel"),
        _by_digits("hr-oib", r"\d{11}", checks.mod_11_10, r"\boib\b"),
        _by_digits(
            "ee-lt-personal-code", r"\d{11}", checks.estonian, "isikukood", "asmens", r"\bik\b", r"\ba\.?k\b"
        ),
        _by_digits("gr-amka", r"\d{11}", checks.greek_amka, "amka", "αμκα"),
        _by_digits("lv-personas-kods", r"\d{11}", checks.latvian, "personas"),
    ),
    12: (_by_digits("se-personnummer", r"(?:19|20)\d{6}-?\d{4}", checks.swedish, "personn", "samordning"),),
    13: (
        _by_digits("ro-cnp", r"\d{13}", checks.romanian, r"\bcnp\b", "cod numeric"),
        _by_digits("si-emso", r"\d{13}", checks.slovenian, "em[šs]o"),
        _by_digits(
            "lu-matricule",
            r"\d{13}|\d{4} ?\d\d ?\d\d ?\d{3} ?\d\d",
            checks.luxembourgish,
            "matricule",
            "sozialvers",
            r"\bcns\b",
        ),
    ),
    15: (
        _by_digits("fr-nir", r"\d{15}|\d \d\d \d\d \d\d \d{3} \d{3} \d\d", checks.french, "nir", bare=True),
    ),
}
"""By how many digits they have; of those that fit, the first."""

WITH_LETTERS = (
    Identifier("es-dni", re.compile(r"\d{8}-?[A-Z]"), checks.spanish, _words("dni", "nif", _ID), bare=True),
    Identifier("cy-tic", re.compile(r"\d{8}[A-Z]"), checks.cypriot, _words("tic", _ID, "αφτ", "φορολογ")),
    Identifier(
        "fi-hetu",
        re.compile(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]"),
        checks.finnish,
        _words("hetu", "henkil", "personbeteckning", _ID),
        bare=True,
    ),
    Identifier("ie-pps", re.compile(r"\d{7}[A-W][A-IW]?"), checks.irish, _words("pps", _ID), bare=False),
    Identifier(
        "mt-id",
        re.compile(r"\d{7}[MGAPLHBZ]"),
        lambda _: True,
        _words(r"\bid card", "karta", "malt", "identit"),
    ),
)
"""Digits first. `check` gets the text without separators."""

LETTERS_FIRST = (
    Identifier("es-nie", re.compile(r"[XYZ]-?\d{7}-?[A-Z]"), checks.spanish, _words("nie"), bare=True),
    Identifier(
        "it-codice-fiscale",
        re.compile(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]"),
        checks.italian,
        _words("codice"),
        bare=True,
    ),
    Identifier(
        "uk-nino",
        re.compile(r"(?!BG|GB|KN|NK|NT|TN)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"),
        lambda _: True,
        _words("nino", "insurance"),
        bare=True,
    ),
    Identifier(
        "uk-nino",
        re.compile(r"[A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-Z]"),
        lambda _: True,
        _words(r"\bnino\b", "national insurance"),
    ),
)
