"""Which numbers and addresses speak of a person, and which only look like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.guardrails.personal.detector import make_personal
from tests.unit.guardrails.kit import look

PERSONAL = make_personal(None)


def found(text: str, name: str = "") -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in look(PERSONAL, text, name=name)]


IDENTIFIERS = [
    ("email", "write to {} today", "anna.kovacs+news@firma-k.hu"),
    ("email", "<{}>", "o'neil_42@mail.co.uk"),
    ("phone", "call {}", "+49 (0)30 901820"),
    ("phone", "Tel. {}", "030 9018 2000"),
    ("phone", "{}", "01 45 67 89 10"),
    ("iban", "account {}.", "DE89 3704 0044 0532 0130 00"),
    ("iban", "{}", "NL91ABNA0417164300"),
    ("iban", "IBAN={},", "GB29 NWBK 6016 1331 9268 19"),
    ("payment-card", "card {}", "4111 1111 1111 1111"),
    ("payment-card", "{}", "378282246310005"),
    ("ip-address", "login from {} at 10:32", "84.17.49.12"),
    ("ip-address", "login from {} at 10:32", "2a02:8109:9c40:2e5c:1::9"),
    ("date-of-birth", "born on {}", "14.05.1953"),
    ("date-of-birth", "geb. {}", "1953-05-14"),
    ("vat-id", "USt-IdNr. {}", "DE136695976"),
    ("vat-id", "{}", "ATU13585627"),
    ("vat-id", "TVA {}", "FR40303265045"),
    ("at-svnr", "SV-Nummer {}", "1237 010180"),
    ("be-rijksregister", "{}", "85.07.30-033.28"),
    ("bg-egn", "EGN {}", "7523169263"),
    ("hr-oib", "OIB: {}", "33392005961"),
    ("cy-tic", "TIC {}", "10259033P"),
    ("cz-sk-rodne-cislo", "{}", "710319/2745"),
    ("dk-cpr", "CPR {}", "211062-5629"),
    ("ee-lt-personal-code", "isikukood {}", "37605030299"),
    ("fi-hetu", "{}", "131052-308T"),
    ("fr-nir", "{}", "2 95 10 99 126 111 93"),
    ("de-tax-id", "Steuer-ID {}", "36 574 261 809"),
    ("gr-amka", "AMKA {}", "01013099997"),
    ("hu-taj", "TAJ {}", "123 456 788"),
    ("hu-tax-id", "adóazonosító {}", "8071592153"),
    ("ie-pps", "PPS {}", "6433435F"),
    ("it-codice-fiscale", "{}", "RCCMNL83S18D969H"),
    ("lv-personas-kods", "personas kods {}", "161175-19997"),
    ("lu-matricule", "matricule {}", "1893120105732"),
    ("mt-id", "ID card {}", "1234567M"),
    ("nl-bsn", "BSN {}", "111222333"),
    ("pl-pesel", "PESEL {}", "44051401359"),
    ("pt-nif", "NIF {}", "501964843"),
    ("ro-cnp", "CNP {}", "1630615123457"),
    ("si-emso", "EMŠO {}", "0101006500006"),
    ("es-dni", "{}", "54362315K"),
    ("es-nie", "{}", "X2482300W"),
    ("se-personnummer", "{}", "880320-0016"),
    ("uk-nhs", "NHS number {}", "943 476 5919"),
    ("uk-nino", "{}", "AB 12 34 56 C"),
    ("us-ssn", "{}", "536-90-4399"),
]


@pytest.mark.parametrize(("kind", "text", "value"), IDENTIFIERS)
def test_an_identifier_is_found_whole(kind: str, text: str, value: str):
    assert found(text.format(value)) == [(kind, value)]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        case
        for case in IDENTIFIERS
        if any(c.isdigit() for c in case[2][-3:])
        and case[0]
        not in ("phone", "email", "ip-address", "date-of-birth", "dk-cpr", "us-ssn", "uk-nino", "mt-id")
    ],
)
def test_a_number_whose_check_digit_is_wrong_is_none_of_its_kind(kind: str, text: str, value: str):
    last = next(i for i in range(len(value) - 1, -1, -1) if value[i].isdigit())
    wrong = value[:last] + str((int(value[last]) + 1) % 10) + value[last + 1 :]
    assert kind not in [k for k, _ in found(text.format(wrong))]


@pytest.mark.parametrize(
    "text",
    [
        "invoice no. 58073021, PO 5736819303, amount 1.642,00 EUR",
        "array([212997220, 033224538, 323640562])",
        "version 2.19.5.156 released on 2026-03-11",
        "uuid ff297d0e-4f2e-84fc-b06d-bee0b89c4e56",
        "lat=48.329261, lon=11.265206",
        "ISBN 978-3-16-148476-0, EAN 4077574476216",
        "sha256:ff30499a90ebb4108e360ddfcfc69e290d9f945ffa4d1278220ad2cf1337349e",
        "listening on 127.0.0.1:3878 and 0.0.0.0:8080, gateway 192.168.9.1",
        "epoch=1739021571 ms=1257687360450",
        "5401 2711 6062 3075 units sold per quarter",
        "tracking 1Z9058107097009616",
        "git@github.com:acme/app.git",
        "user@host.local, root@localhost, ann@example.com, bob@mail.test, icon@2x.png, x@y.invalid, a@b.example",
        "noreply@acme.com",
        "192.0.2.7 and 2001:db8::1 are for documentation",
        "at 10:32:11 on 2026-03-11T10:32:11.123456Z",
        "std::vector<int>::iterator a::b",
        "released 2026-03-11",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str):
    assert found(text) == []


def test_a_bare_number_counts_only_under_a_word_that_announces_it():
    assert found("111222333") == []
    assert found("111222333", "bsn") == [("nl-bsn", "111222333")]
    assert found("0123456789", "phone_number") == [("phone", "0123456789")]


@given(before=st.text(max_size=12), after=st.text(max_size=12))
def test_offsets_hold_in_any_script(before: str, after: str):
    text = f"{before} DE89370400440532013000 {after}"
    at = len(before) + 1
    assert any(s.start <= at and s.end >= at + 22 for s in look(PERSONAL, text))


@given(st.text(alphabet=st.sampled_from("0123456789 .-/()+@:aDEx,"), max_size=200))
def test_any_mixture_of_signs_is_read_without_failing(text: str):
    for span in look(PERSONAL, text):
        assert 0 <= span.start < span.end <= len(text)
        assert span.type in PERSONAL.types
