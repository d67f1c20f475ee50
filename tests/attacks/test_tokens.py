"""Somebody with a forged, altered, borrowed or outdated access token."""

import base64
import hashlib
import hmac
import json
import re
from contextlib import asynccontextmanager

import httpx2
import orjson
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from broker.errors import Unauthenticated
from broker.identity.authenticator import access_tokens
from broker.identity.tokens import DEFAULT_SCOPES, AccessTokens
from broker.model import AgentStatus
from broker.settings import ServerSettings, Settings
from tests.unit.edges.serving import Broker, broker_for
from tests.unit.identity.memory import NOW

FOREIGN = "not a token of this broker"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(key: ECKey, header: str, claims: str) -> str:
    """A token with a genuine signature over any header and any claims."""
    content = f"{encode(header.encode())}.{encode(claims.encode())}"
    signature = jws.JWSRegistry.algorithms["ES256"].sign(content.encode(), key)
    return f"{content}.{encode(signature)}"


class Forger:
    """Has everything, the signing key included: only the exact shape of a token protects here."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.key = broker.keys.tokens.active.pair
        self.header = {"alg": "ES256", "typ": "at+jwt", "kid": broker.keys.tokens.active.kid}
        self.claims = {
            "iss": broker.settings.issuer,
            "aud": broker.settings.resource,
            "sub": "researcher",
            "client_id": "researcher",
            "jti": "id-1",
            "txn": "txn-1",
            "iat": NOW,
            "exp": NOW + 600,
            "scope": "mcp:tools",
        }

    def token(self, header: dict | None = None, claims: dict | None = None, without: str = "") -> str:
        wanted = {k: v for k, v in (self.claims | (claims or {})).items() if k != without}
        return signed(self.key, json.dumps(self.header | (header or {})), json.dumps(wanted))


@asynccontextmanager
async def resource():
    broker = await broker_for(Settings())
    broker.agents.enrol("researcher")
    transport = httpx2.ASGITransport(broker.app)
    async with httpx2.AsyncClient(transport=transport, base_url=broker.url) as client:

        async def attempt(token: str) -> tuple[int, str]:
            answered = await client.post("/mcp", headers={"authorization": f"Bearer {token}"})
            told = answered.headers.get("www-authenticate", "")
            assert (answered.status_code == 401) == ('error="invalid_token"' in told)
            return answered.status_code, answered.json().get("error", {}).get("message", "")

        yield Forger(broker), attempt


async def test_the_forgers_tools_make_a_token_that_is_accepted_as_long_as_nothing_is_wrong_with_it():
    async with resource() as (forger, attempt):
        assert await attempt(forger.token()) == (200, "")


@pytest.mark.parametrize(
    "algorithm", ["none", "NONE", "HS256", "RS256", "ES384", "ES256K", "es256", "", None, 1]
)
async def test_only_es256_is_an_algorithm(algorithm):
    async with resource() as (forger, attempt):
        assert await attempt(forger.token({"alg": algorithm})) == (401, FOREIGN)


@pytest.mark.parametrize("signature", ["", "AA", "x"])
async def test_a_token_without_a_signature_is_none(signature):
    async with resource() as (forger, attempt):
        header = encode(orjson.dumps(forger.header | {"alg": "none"}))
        content = f"{header}.{encode(orjson.dumps(forger.claims))}"
        assert await attempt(f"{content}.{signature}") == (401, FOREIGN)


@pytest.mark.parametrize("form", ["PEM", "DER", "JWK"])
async def test_the_public_key_is_not_a_shared_secret(form):
    async with resource() as (forger, attempt):
        public = ECKey.import_key(forger.key.as_dict(private=False))
        secret = orjson.dumps(public.as_dict()) if form == "JWK" else getattr(public, f"as_{form.lower()}")()
        header = encode(orjson.dumps(forger.header | {"alg": "HS256"}))
        content = f"{header}.{encode(orjson.dumps(forger.claims))}"
        mac = hmac.new(secret, content.encode(), hashlib.sha256).digest()
        assert await attempt(f"{content}.{encode(mac)}") == (401, FOREIGN)


@pytest.mark.parametrize(
    "name", ["jwk", "jku", "x5u", "x5c", "x5t", "crit", "b64", "cty", "zip", "url", "nonce", "anything"]
)
async def test_a_header_with_anything_more_than_ours_is_refused_though_genuinely_signed(name):
    async with resource() as (forger, attempt):
        values = {"crit": ["exp"], "b64": False, "jwk": forger.key.as_dict(private=False), "x5c": ["AA"]}
        assert await attempt(forger.token({name: values.get(name, "x")})) == (401, FOREIGN)


async def test_a_key_that_comes_with_the_token_is_not_used():
    async with resource() as (forger, attempt):
        forger.key = own = ECKey.generate_key("P-256")
        for extra in ({}, {"jwk": own.as_dict(private=False)}, {"kid": own.thumbprint()}):
            assert await attempt(forger.token(extra)) == (401, FOREIGN)


@pytest.mark.parametrize("kid", ["unknown", "", None, 1, ["a"], {"a": 1}, "../../dev/null", "' OR 1=1 --"])
async def test_a_key_id_that_is_not_ours_is_refused(kid):
    async with resource() as (forger, attempt):
        assert await attempt(forger.token({"kid": kid})) == (401, FOREIGN)


@pytest.mark.parametrize("missing", ["kid", "typ", "alg"])
async def test_a_header_that_lacks_something_is_refused(missing):
    async with resource() as (forger, attempt):
        del forger.header[missing]
        assert await attempt(forger.token()) == (401, FOREIGN)


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", "AT+JWT", "dlg+jwt", "application/at+jwt", "at+jwt ", "", None]
)
async def test_a_token_of_another_type_is_not_an_access_token(typ):
    async with resource() as (forger, attempt):
        assert await attempt(forger.token({"typ": typ})) == (401, FOREIGN)


async def test_names_that_occur_twice_are_refused_in_header_and_claims():
    async with resource() as (forger, attempt):
        header, claims = json.dumps(forger.header), json.dumps(forger.claims)
        twice = header[:-1] + f', "kid": "{forger.header["kid"]}"}}'
        assert await attempt(signed(forger.key, twice, claims)) == (401, FOREIGN)
        for name, value in (
            ("aud", "x"),
            ("exp", NOW + 10),
            ("client_id", "researcher"),
            ("su\\u0062", "root"),
        ):
            doubled = f'{{"{name}": {json.dumps(value)}, {claims[1:]}'
            assert await attempt(signed(forger.key, header, doubled)) == (401, FOREIGN)


@pytest.mark.parametrize("name", ["exp", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        f"{NOW}.5",
        f'"{NOW}"',
        "true",
        "null",
        "[]",
        "9" * 400,
        "9" * 5000,
    ],
)
async def test_a_time_that_is_not_a_plain_number_of_seconds_is_refused(name, value):
    async with resource() as (forger, attempt):
        claims = re.sub(rf'"{name}": \d+', f'"{name}": {value}', json.dumps(forger.claims))
        assert value in claims
        assert await attempt(signed(forger.key, json.dumps(forger.header), claims)) == (401, FOREIGN)


@pytest.mark.parametrize(
    ("issued", "expires"), [(0, 3601), (0, 10**9), (0, 0), (0, -10), (6, 600), (-(10**9), 600), (-4000, 600)]
)
async def test_a_lifetime_that_this_broker_never_gives_is_refused(issued, expires):
    async with resource() as (forger, attempt):
        token = forger.token(claims={"iat": NOW + issued, "exp": NOW + expires})
        assert await attempt(token) == (401, FOREIGN)


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "client_id", "jti", "txn", "iat", "exp", "scope"])
async def test_a_token_that_lacks_a_claim_is_refused(missing):
    async with resource() as (forger, attempt):
        assert await attempt(forger.token(without=missing)) == (401, FOREIGN)


@pytest.mark.parametrize("name", ["sub", "client_id", "jti", "txn", "scope"])
@pytest.mark.parametrize("value", ["", None, 1, ["researcher"], {"a": "b"}, True])
async def test_a_claim_of_the_wrong_type_is_refused(name, value):
    async with resource() as (forger, attempt):
        assert await attempt(forger.token(claims={name: value})) == (401, FOREIGN)


async def test_a_token_for_or_from_somebody_else_is_refused():
    async with resource() as (forger, attempt):
        own, issuer = forger.claims["aud"], forger.claims["iss"]
        audiences = [
            [own],
            [own, "https://other.example/mcp"],
            "https://other.example/mcp",
            own + "/",
            "",
            None,
        ]
        issuers = [[issuer], "https://other.example/oauth", issuer + "/", issuer.upper(), None]
        for claims in [{"aud": a} for a in audiences] + [{"iss": i} for i in issuers]:
            assert await attempt(forger.token(claims=claims)) == (401, FOREIGN)


async def test_a_token_of_another_deployment_with_the_same_key_is_refused():
    async with resource() as (forger, attempt):
        other = Settings(server=ServerSettings(public_url="https://other.example"))
        tokens = AccessTokens(
            forger.broker.keys.tokens,
            issuer=other.issuer,
            resource=other.resource,
            lifetime_s=600,
            clock=forger.broker.clock,
        )
        agent = forger.broker.agents.records["researcher"]
        assert await attempt(tokens.mint(agent, DEFAULT_SCOPES).compact) == (401, FOREIGN)


async def test_an_expired_token_says_only_how_late_it_is():
    async with resource() as (forger, attempt):
        token = forger.token()
        forger.broker.clock.now = NOW + 600 + 40
        assert await attempt(token) == (401, "expired 40 s ago")


async def test_a_token_that_is_too_large_is_not_even_hashed():
    async with resource() as (forger, attempt):
        assert await attempt(forger.token(claims={"more": "x" * 5000})) == (401, FOREIGN)
        assert await attempt("a" * 1_000_000) == (401, FOREIGN)


async def test_a_live_token_of_a_suspended_agent_stops_working_at_once():
    async with resource() as (forger, attempt):
        token = forger.token()
        assert await attempt(token) == (200, "")
        forger.broker.agents.set_status("researcher", AgentStatus.SUSPENDED)
        assert await attempt(token) == (401, "`researcher` is suspended")


async def test_a_token_of_an_agent_that_never_existed_is_refused():
    async with resource() as (forger, attempt):
        status, _ = await attempt(forger.token(claims={"client_id": "ghost", "sub": "ghost"}))
        assert status == 401


async def test_line_breaks_blanks_and_padding_do_not_make_a_second_spelling():
    async with resource() as (forger, _):
        token = forger.token()
        tokens = access_tokens(forger.broker.settings, forger.broker.keys, forger.broker.clock)
        tokens.verify(token)
        first, second, third = token.split(".")
        spellings = [
            token + "\n",
            "\n" + token,
            f"{first}.\r\n{second}.{third}",
            f"{first}.{second}=.{third}",
            f"{first} .{second}.{third}",
            f"{token}.",
            f"{token}.x",
            f"{first}.{second}",
            f"{first}.{second}.{third}\x00",
            f"{first}.{second}.{twin(third)}",
        ]
        for spelling in spellings:
            with pytest.raises(Unauthenticated, match=FOREIGN):
                tokens.verify(spelling)


def twin(segment: str) -> str:
    """The same bytes with other unused bits at the end (86 characters hold 64 bytes and four bits)."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(segment[-1]) ^ 1]
    assert base64.urlsafe_b64decode(segment[:-1] + last + "==") == base64.urlsafe_b64decode(segment + "==")
    return segment[:-1] + last


async def test_changing_any_part_of_a_token_breaks_it():
    async with resource() as (forger, attempt):
        token = forger.token()
        for place in range(0, len(token), 7):
            if token[place] != ".":
                other = "A" if token[place] != "A" else "B"
                assert await attempt(token[:place] + other + token[place + 1 :]) == (401, FOREIGN)


async def test_a_client_secret_or_a_seal_is_not_a_token():
    async with resource() as (forger, attempt):
        for text in (forger.broker.agents.enrol("other"), "bk_x", "null", "Bearer", "e30.e30.e30"):
            assert await attempt(text) == (401, FOREIGN)


@pytest.mark.parametrize("where", ["query", "body", "cookie"])
async def test_a_token_anywhere_but_in_the_header_is_not_read(where):
    async with resource() as (forger, _):
        token = forger.token()
        sent = {
            "query": {"params": {"access_token": token}},
            "body": {"data": {"access_token": token}},
            "cookie": {"headers": {"cookie": f"access_token={token}"}},
        }[where]
        transport = httpx2.ASGITransport(forger.broker.app)
        async with httpx2.AsyncClient(transport=transport, base_url=forger.broker.url) as client:
            answered = await client.post("/mcp", **sent)
    assert answered.status_code == 401
    assert "error=" not in answered.headers["www-authenticate"]
