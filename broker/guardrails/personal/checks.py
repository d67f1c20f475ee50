"""Is a number what it looks like? Check digits, each as its issuer defines it. All take plain digits."""

from collections.abc import Sequence

_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_PPS = "WABCDEFGHIJKLMNOPQRSTUV"
_CF_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_VERHOEFF_D = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_VERHOEFF_P = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of digits times weights; what has no weight does not count."""
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False))


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    doubled = (int(d) * 2 for d in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def verhoeff(digits: str) -> bool:
    """Verhoeff's dihedral check; the last digit is the check digit."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _VERHOEFF_D[check][_VERHOEFF_P[place % 8][int(digit)]]
    return check == 0


def mod_11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10, as in Croatian OIB and German tax numbers."""
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product - 1) % 10 + 1) * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def is_date(day: str, month: str, *, year: str = "") -> bool:
    """Whether day and month can stand in a date; with `year` no birth in the future or before 1850."""
    sound = 1 <= int(day) <= 31 and 1 <= int(month) <= 12
    return sound and (not year or 1850 <= int(year) <= 2035)


def iban(text: str) -> bool:
    """ISO 13616: two letters, mod 97."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def austrian(d: str) -> bool:
    """Sozialversicherungsnummer: the fourth digit checks the others."""
    return weighted(d, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == int(d[3]) and is_date(d[4:6], d[6:8])


def belgian(d: str) -> bool:
    """Rijksregisternummer: 97 less the rest, with a 2 in front for those born since 2000."""
    return is_date(d[4:6] if d[4:6] != "00" else "01", str(int(d[2:4]) % 20 or 1)) and any(
        97 - int(front + d[:9]) % 97 == int(d[9:]) for front in ("", "2")
    )


def bulgarian(d: str) -> bool:
    """EGN; the month tells the century."""
    return weighted(d, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == int(d[9]) and is_date(
        d[4:6], str(int(d[2:4]) % 20)
    )


def czech(d: str) -> bool:
    """Rodné číslo (also Slovak): divisible by 11; women have 50 added to the month."""
    return int(d) % 11 == 0 and is_date(d[4:6], str(int(d[2:4]) % 50 % 20))


def danish(d: str) -> bool:
    """CPR: only the date can be checked, since 2007 there are numbers without a check digit."""
    return is_date(d[:2], d[2:4])


def german_tax(d: str) -> bool:
    """Steuerliche Identifikationsnummer: one digit repeats among the first ten."""
    return d[0] != "0" and 7 <= len(set(d[:10])) <= 9 and mod_11_10(d)


def estonian(d: str) -> bool:
    """Isikukood, also the Lithuanian asmens kodas: two rounds of weights."""
    rest = weighted(d, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if rest == 10:
        rest = weighted(d, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return rest == int(d[10]) and d[0] in "123456" and is_date(d[5:7], d[3:5])


def french(d: str) -> bool:
    """NIR: 97 less the rest; sex, month."""
    month = int(d[3:5])
    sound = d[0] in "12" and (1 <= month <= 12 or 20 <= month <= 42 or month >= 50)
    return sound and 97 - int(d[:13]) % 97 == int(d[13:])


def greek_amka(d: str) -> bool:
    """AMKA: a date of birth and Luhn's check digit."""
    return is_date(d[:2], d[2:4]) and luhn(d)


def greek_afm(d: str) -> bool:
    """AFM: powers of two, mod 11."""
    return weighted(d, (256, 128, 64, 32, 16, 8, 4, 2)) % 11 % 10 == int(d[8]) and int(d) > 0


def hungarian_taj(d: str) -> bool:
    """TAJ: 3 and 7 in turn, mod 10."""
    return weighted(d, (3, 7, 3, 7, 3, 7, 3, 7)) % 10 == int(d[8])


def hungarian_tax(d: str) -> bool:
    """Adóazonosító jel: begins with 8."""
    return d[0] == "8" and weighted(d, range(1, 10)) % 11 == int(d[9])


def latvian(d: str) -> bool:
    """Personas kods: those since 2017 begin with 32 and have no check digit."""
    if d.startswith("32"):
        return True
    check = (1 + weighted(d, (10, 5, 8, 4, 2, 1, 6, 3, 7, 9))) % 11 % 10
    return check == int(d[10]) and is_date(d[:2], d[2:4])


def luxembourgish(d: str) -> bool:
    """Matricule: Luhn over the first twelve, Verhoeff over the first eleven with the last."""
    return is_date(d[6:8], d[4:6], year=d[:4]) and luhn(d[:12]) and verhoeff(d[:11] + d[12])


def dutch(d: str) -> bool:
    """Burgerservicenummer: the test of eleven."""
    return weighted(d, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and int(d) > 0


def polish(d: str) -> bool:
    """PESEL; the month tells the century."""
    return -weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10 == int(d[10]) and is_date(
        d[4:6], str(int(d[2:4]) % 20)
    )


def portuguese(d: str) -> bool:
    """NIF of a person or company."""
    return d[0] in "125689" and -weighted(d, range(9, 1, -1)) % 11 % 10 == int(d[8])


def romanian(d: str) -> bool:
    """CNP."""
    return (
        d[0] in "12345678"
        and is_date(d[5:7], d[3:5])
        and weighted(d, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11 % 10 + (_cnp_is_ten(d)) == int(d[12])
    )


def _cnp_is_ten(d: str) -> int:
    return int(weighted(d, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11 == 10)


def slovenian(d: str) -> bool:
    """EMŠO, also of the other countries that used it."""
    rest = -weighted(d, (7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return rest == int(d[12]) and is_date(d[:2], d[2:4])


def swedish(d: str) -> bool:
    """Personnummer; coordination numbers have 60 added to the day."""
    ten = d[-10:]
    return luhn(ten) and is_date(str(int(ten[4:6]) % 60), ten[2:4])


def nhs(d: str) -> bool:
    """NHS number of the United Kingdom."""
    return -weighted(d, range(10, 1, -1)) % 11 == int(d[9]) and len(set(d)) > 1


def ssn(d: str) -> bool:
    """US social security number: areas that were never given out do not count."""
    return d[:3] not in ("000", "666") and d[0] != "9" and d[3:5] != "00" and d[5:] != "0000"


def spanish(text: str) -> bool:
    """DNI and NIE: 23 letters."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return _DNI[int(number) % 23] == text[-1]


def finnish(text: str) -> bool:
    """HETU, with or without its century sign."""
    digits = "".join(c for c in text[:-1] if c.isdigit())
    return is_date(digits[:2], digits[2:4]) and _HETU[int(digits) % 31] == text[-1]


def irish(text: str) -> bool:
    """PPS number: mod 23, a second letter counts nine times."""
    extra = ord(text[8]) - 64 if len(text) == 9 and text[8] != "W" else 0
    return _PPS[(weighted(text, range(8, 1, -1)) + 9 * extra) % 23] == text[7]


def cypriot(text: str) -> bool:
    """TIC: eight digits and a letter."""
    odd = {"0": 1, "1": 0, "2": 5, "3": 7, "4": 9, "5": 13, "6": 15, "7": 17, "8": 19, "9": 21}
    total = sum(odd[d] for d in text[0:8:2]) + sum(int(d) for d in text[1:8:2])
    return chr(65 + total % 26) == text[8]


def italian(text: str) -> bool:
    """Codice fiscale: odd and even places have their own values."""
    total = 0
    for place, c in enumerate(text[:15]):
        value = int(c) if c.isdigit() else ord(c) - 65
        total += _CF_ODD[value] if place % 2 == 0 else value
    return chr(65 + total % 26) == text[15]
