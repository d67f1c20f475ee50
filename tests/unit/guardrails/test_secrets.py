"""What the detector finds, what it leaves alone, and that it never takes more than linear time."""

import sys
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from broker.guardrails.message import SEAM
from broker.guardrails.secrets.detector import make_secrets
from broker.guardrails.secrets.formats import SecretKind, load_formats
from tests.unit.guardrails import samples
from tests.unit.guardrails.kit import look

SECRETS = make_secrets(None)


def found(text: str, name: str = "") -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in look(SECRETS, text, name=name)]


@pytest.mark.parametrize(("kind", "secret"), samples.TOKENS.items())
@pytest.mark.parametrize(
    "around", ["{}", "the key is {}, use it", '{{"a": "{}"}}', "漢字é {} ü", "x={}\ny", "({})"]
)
def test_a_token_is_found_whole_wherever_it_stands(kind: str, secret: str, around: str):
    text = around.format(secret)
    spans = [(span.start, span.end) for span in look(SECRETS, text) if span.type == kind]
    assert any(
        start <= text.index(secret) and end >= text.index(secret) + len(secret) for start, end in spans
    )


@pytest.mark.parametrize(
    "text",
    [
        f"DB_PASSWORD={samples.PASSWORD}",
        f'{{"password": "{samples.PASSWORD}"}}',
        f'{{\\"api_key\\": \\"{samples.PASSWORD}\\"}}',
        f"export API_TOKEN='{samples.PASSWORD}'",
        f"  client_secret: {samples.PASSWORD}\n",
        f"<password>{samples.PASSWORD}</password>",
        f"https://host.test/?access_token={samples.PASSWORD}&page=2",
        f"ACME_KEY := {samples.PASSWORD}",
    ],
)
def test_a_value_given_to_a_telling_name_is_found_and_nothing_around_it(text: str):
    assert found(text) == [("assigned-secret", samples.PASSWORD)]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"postgres://svc:{samples.PASSWORD}@db.test:5432/prod", samples.PASSWORD),
        (f"https://deploy:{samples.PASSWORD}@git.test/a.git", samples.PASSWORD),
        (f"redis://:{samples.PASSWORD}@cache.test", samples.PASSWORD),
    ],
)
def test_of_a_url_with_credentials_only_the_password_is_the_secret(text: str, secret: str):
    assert found(text) == [("url-credentials", secret)]


@pytest.mark.parametrize(
    "name", ["password", "apiKey", "client_secret", "AUTH_TOKEN", "db-password", "accessToken"]
)
def test_a_value_under_a_telling_key_is_found_although_the_text_itself_says_nothing(name: str):
    assert found(samples.PASSWORD) == []
    assert found(samples.PASSWORD, name) == [("assigned-secret", samples.PASSWORD)]


@pytest.mark.parametrize(
    "name",
    [
        "nextPageToken",
        "next_page_token",
        "token_type",
        "primary_key",
        "cacheKey",
        "max_tokens",
        "csrf_token",
        "id",
        "author",
        "keyboard",
        "secret_name",
        "idempotency-key",
    ],
)
def test_a_value_under_another_key_is_left_alone(name: str):
    assert found(samples.PASSWORD, name) == []
    assert found(f'{{"{name}": "{samples.PASSWORD}"}}') == []


@pytest.mark.parametrize(
    "text",
    [
        "API_KEY=YOUR_API_KEY_HERE",
        "password: ********",
        "secret: ${{ secrets.NPM_TOKEN }}",
        'password = os.environ["DB_PASSWORD"]',
        "export GITHUB_TOKEN=<your token>",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "postgres://user:${DB_PASSWORD}@host/db",
        "key: user-profile-2024",
        "token: tokenizer_v2",
        "commit f850185772443edabcf10267bab721f9b07fcb46",
        "app@sha256:cd755ea8be8933024255d35f797918d196667518ffefba754b09a7795fd3ce57",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "write -----BEGIN PRIVATE KEY----- on the first line",
        "git@host.test:a/b.git",
        "a password is needed: ask for one",
        "secret=[redacted:assigned-secret]",
    ],
)
def test_placeholders_identifiers_and_public_things_are_no_secrets(text: str):
    assert found(text) == []


def test_a_private_key_that_is_cut_off_is_still_one():
    cut = samples.PRIVATE_KEY[: samples.PRIVATE_KEY.index("\n-----END")]
    assert found(f"here: {cut}") == [("private-key", cut)]
    escaped = samples.PRIVATE_KEY.replace("\n", "\\n")
    assert found(f'{{"k": "{escaped}"}}') == [("private-key", escaped)]


def test_a_web_token_stays_one_whatever_name_it_is_given_to():
    assert found(f'{{"access_token": "{samples.JWT}"}}') == [("jwt", samples.JWT)]
    assert found(f"Authorization: Bearer {samples.JWT}") == [("jwt", samples.JWT)]


def test_a_value_is_read_once_and_whole_however_long_it_is():
    assert found(f"secret=token:{samples.PASSWORD}") == [("assigned-secret", f"token:{samples.PASSWORD}")]
    long = "".join(f"{n}éx{n * 7}" for n in range(200))
    assert found(f"password: {long}") == [("assigned-secret", long)]
    assert found(f"curl -u ann:{long}")[-1][1] == long


def test_what_is_glued_to_a_token_belongs_to_it():
    assert found(samples.GITHUB + "tail-1") == [("github-token", samples.GITHUB + "tail-1")]


@given(before=st.text(max_size=30), after=st.text(max_size=30))
def test_offsets_are_code_points_in_any_script(before: str, after: str):
    text = f"{before} {samples.STRIPE} {after}"
    start = len(before) + 1
    assert any(s.start == start and s.end == start + len(samples.STRIPE) for s in look(SECRETS, text))


@given(
    text=st.text(alphabet=st.sampled_from("key=:\"' \npass-wordAB12eyJ./@é-_BEGIN PRIVATE"), max_size=300),
    name=st.text(max_size=20),
)
def test_spans_are_in_order_and_inside_the_text(text: str, name: str):
    spans = look(SECRETS, text, name=name)
    assert spans == sorted(spans, key=lambda s: (s.start, s.end))
    assert all(0 <= s.start < s.end <= len(text) for s in spans)


def test_every_format_has_an_id_of_its_own_and_keywords_that_can_be_found():
    formats = load_formats()
    assert len({f.id for f in formats}) == len(formats) > 200
    assert all(keyword == keyword.lower() and len(keyword) > 1 for f in formats for keyword in f.keywords)
    assert all(f.keywords and f.kind in SecretKind for f in formats)


REPEATED = [
    "key=",
    "key:",
    "token=aB3dE6gH9kLmN0pQ ",
    samples.GITHUB,
    f"{samples.JWT} ",
    "https://a:b1c2d3@h ",
    samples.PRIVATE_KEY[:110],
    "auth",
    '"',
]


def test_many_keys_without_an_end_before_one_with_an_end_do_not_read_the_text_many_times(
    monkeypatch: pytest.MonkeyPatch,
):
    cut = samples.PRIVATE_KEY[:60]
    texts = [*[cut] * 500, samples.PRIVATE_KEY]
    assert [text for text in found_in(*texts) if len(text) > 60] == [samples.PRIVATE_KEY]


def found_in(*texts: str) -> list[str]:
    joined = SEAM.join(texts)
    return [joined[span.start : span.end] for span in look(SECRETS, *texts)]


@pytest.mark.parametrize("piece", REPEATED)
def test_four_times_the_text_takes_at_most_four_times_the_steps(piece: str, monkeypatch: pytest.MonkeyPatch):
    steps, longer = (_steps(piece * (size // len(piece)), monkeypatch) for size in (4_000, 16_000))
    assert longer <= 4.4 * steps + 200


def _steps(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Calls made: each is linear in what it is given, RE2 and Aho-Corasick by construction."""
    count = 0

    def step(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(step)
    try:
        look(SECRETS, text)
    finally:
        sys.setprofile(None)
    return count


def test_no_pattern_lets_one_match_read_to_the_end_of_the_text():
    """A wide class repeated without bound, and then a mark, would make n matches read n texts each."""
    wide = re2.compile(r"\.[*+]|\\s\\S\]\{\d+,\}|\(\?s:\.\)[*+]")
    texts = [f.pattern.pattern for f in load_formats()]  # type: ignore[attr-defined]
    assert [text for text in texts if wide.search(text.decode())] == []
