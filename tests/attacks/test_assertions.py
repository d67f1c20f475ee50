"""Somebody who wants to be another client, with a forged, altered, borrowed or used client assertion."""

import base64
import json
import re
from contextlib import asynccontextmanager

import httpx2
import pytest
from joserfc.jwk import ECKey

from broker.identity.assertions import ASSERTION_TYPE
from broker.model import AgentStatus
from broker.settings import Settings, TokenSettings
from tests.unit.edges.serving import Broker, broker_for
from tests.unit.identity.memory import NOW
from tests.unit.identity.signing import EC, ED, Signer, encode, public, signed, with_secret

GRANT = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}


class Office:
    """Every request comes from another address: no attack is stopped by the back-off of those before it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.signer = Signer("researcher", broker.settings.issuer)
        self.asked = 0

    async def post(self, **request) -> httpx2.Response:
        self.asked += 1
        transport = httpx2.ASGITransport(self.broker.app, client=(f"192.0.2.{self.asked}", 1))
        async with httpx2.AsyncClient(transport=transport, base_url=self.broker.url) as client:
            return await client.post(**{"url": "/oauth/token"} | request)

    async def ask(self, assertion: str, **more: str) -> httpx2.Response:
        return await self.post(data=GRANT | {"client_assertion": assertion} | more)

    async def refused(self, assertion: str, **more: str) -> None:
        """It is refused just like a wrong secret, while a genuine assertion is accepted."""
        answer = shown(await self.ask(assertion, **more))
        assert answer == shown(await self.post(data=GRANT, auth=("researcher", "bk_x")))
        assert answer[0] == 401
        assert (await self.ask(self.signer.assertion())).status_code == 200


def shown(response: httpx2.Response) -> tuple:
    return response.status_code, response.content, sorted(response.headers.multi_items())


@asynccontextmanager
async def office(*, strict: bool = False):
    broker = await broker_for(Settings(tokens=TokenSettings(strict_audience=strict)))
    for name in ("researcher", "intern"):
        broker.agents.enrol(name)
    broker.agents.register("researcher", public(EC) | {"kid": "mine"})
    broker.agents.register("intern", public(ED))
    yield Office(broker)


async def test_a_genuine_assertion_gets_a_token_and_used_again_it_gets_none():
    async with office() as o:
        assertion = o.signer.assertion()
        first = await o.ask(assertion)
        assert (first.status_code, first.json()["token_type"]) == (200, "Bearer")
        again = await o.ask(assertion)
        assert again.status_code == 401
        assert len(o.broker.log.issued) == 1


async def test_an_assertion_of_somebody_else_s_key_is_refused():
    async with office() as o:
        await o.refused(Signer("researcher", o.signer.audience, ED, "Ed25519").assertion())
        stranger = ECKey.generate_key("P-256")
        await o.refused(Signer("researcher", o.signer.audience, stranger).assertion())


@pytest.mark.parametrize("claims", [{"iss": "intern"}, {"sub": "intern"}, {"iss": "intern", "sub": "intern"}])
async def test_the_key_of_one_client_does_not_speak_for_another(claims):
    async with office() as o:
        await o.refused(o.signer.assertion(claims=claims))
        assert {agent for agent, _ in o.broker.log.issued} == {"researcher"}


async def test_a_client_id_beside_the_assertion_has_to_be_its_subject():
    async with office() as o:
        await o.refused(o.signer.assertion(), client_id="intern")


@pytest.mark.parametrize(
    "algorithm", ["none", "NONE", "HS256", "HS512", "ES384", "RS256", "PS256", "", None, 1, ["ES256"]]
)
async def test_the_algorithm_is_what_the_registered_key_is_for(algorithm):
    async with office() as o:
        await o.refused(o.signer.assertion({"alg": algorithm}))


async def test_an_unsigned_assertion_is_refused():
    async with office() as o:
        header = encode(b'{"alg":"none"}')
        for signature in ("", ".", ".AA"):
            await o.refused(f"{header}.{encode(json.dumps(o.signer.claims()).encode())}{signature}")


@pytest.mark.parametrize("form", ["PEM", "DER", "JWK"])
async def test_the_public_key_is_not_a_shared_secret(form):
    async with office() as o:
        secret = (
            json.dumps(public(EC)).encode()
            if form == "JWK"
            else getattr(EC, f"as_{form.lower()}")(private=False)
        )
        await o.refused(with_secret(secret, o.signer.claims()))


async def test_a_client_secret_is_not_a_key_to_sign_with():
    async with office() as o:
        secret = o.broker.agents.enrol("researcher")
        digest = o.broker.agents.stored_secrets["researcher"][0].digest
        for key in (secret.encode(), digest):
            await o.refused(with_secret(key, o.signer.claims()))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": public(EC)},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["AA"]},
        {"x5t": "AA"},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
        {"anything": 1},
    ],
)
async def test_whatever_else_a_header_holds_makes_it_no_assertion_though_genuinely_signed(header):
    async with office() as o:
        await o.refused(o.signer.assertion(header))


async def test_a_key_that_comes_with_the_assertion_is_not_used():
    own = ECKey.generate_key("P-256")
    async with office() as o:
        for header in ({}, {"jwk": public(own)}, {"kid": own.thumbprint()}, {"kid": "mine"}):
            await o.refused(Signer("researcher", o.signer.audience, own).assertion(header))


@pytest.mark.parametrize(
    "kid", ["unknown", "", "Mine", None, 1, ["mine"], {"a": 1}, "../../dev/null", "' OR 1=1 --"]
)
async def test_a_key_id_that_the_client_has_not_registered_is_refused(kid):
    async with office() as o:
        await o.refused(o.signer.assertion({"kid": kid}))


@pytest.mark.parametrize(
    "typ", ["at+jwt", "dlg+jwt", "dpop+jwt", "oauth-id-jag+jwt", "id+jwt", "", 1, None, ["JWT"]]
)
async def test_a_token_of_another_type_is_not_an_assertion(typ):
    async with office() as o:
        await o.refused(o.signer.assertion({"typ": typ}))


@pytest.mark.parametrize(
    "audience",
    [
        "https://other.example/oauth",
        "http://127.0.0.1:8321",
        "http://127.0.0.1:8321/mcp",
        "http://127.0.0.1:8321/oauth//",
        "HTTP://127.0.0.1:8321/OAUTH",
        ["http://127.0.0.1:8321/oauth", "https://other.example/oauth"],
        ["http://127.0.0.1:8321/oauth"] * 2,
        [["http://127.0.0.1:8321/oauth"]],
        [],
        {},
        "",
        None,
        1,
    ],
)
async def test_an_assertion_for_somebody_else_or_for_others_too_is_refused(audience):
    async with office() as o:
        assert o.signer.audience == "http://127.0.0.1:8321/oauth"
        await o.refused(o.signer.assertion(claims={"aud": audience}))


async def test_with_a_strict_audience_the_token_endpoint_is_none():
    async with office(strict=True) as o:
        await o.refused(o.signer.assertion(claims={"aud": f"{o.signer.audience}/token"}))


@pytest.mark.parametrize(
    ("issued", "expires"),
    [
        (0, 301),
        (0, 86400),
        (0, 10**12),
        (31, 90),
        (10**6, 10**6 + 60),
        (-200, -30),
        (0, 0),
        (60, 0),
        (-(10**9), 60),
    ],
)
async def test_expired_future_and_long_lived_assertions_are_refused(issued, expires):
    async with office() as o:
        await o.refused(o.signer.assertion(claims={"iat": NOW + issued, "exp": NOW + expires}))


async def test_an_assertion_that_does_not_hold_yet_is_refused():
    async with office() as o:
        await o.refused(o.signer.assertion(claims={"nbf": NOW + 31}))
        await o.refused(o.signer.assertion(claims={"nbf": "now"}))


@pytest.mark.parametrize("name", ["exp", "iat"])
@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "1e400", f"{NOW}.5", '"1"', "true", "null", "[]", "9" * 400, "9" * 5000],
)
async def test_a_time_that_is_not_a_plain_number_of_seconds_is_refused(name, value):
    async with office() as o:
        claims = re.sub(rf'"{name}": \d+', f'"{name}": {value}', json.dumps(o.signer.claims()))
        assert value in claims
        await o.refused(signed("ES256", EC, '{"alg":"ES256"}', claims))


@pytest.mark.parametrize("missing", ["iss", "sub", "aud", "exp", "iat", "jti"])
async def test_an_assertion_that_lacks_a_claim_is_refused(missing):
    async with office() as o:
        await o.refused(o.signer.assertion(without=missing))


@pytest.mark.parametrize("name", ["iss", "sub", "jti"])
@pytest.mark.parametrize("value", ["", None, 1, True, ["researcher"], {"a": "b"}, "x" * 3000])
async def test_a_claim_of_the_wrong_type_is_refused(name, value):
    async with office() as o:
        await o.refused(o.signer.assertion(claims={name: value}))


async def test_names_that_occur_twice_are_refused_in_header_and_claims():
    async with office() as o:

        def doubled(header: str, extra: str) -> str:
            return signed("ES256", EC, header, f"{{{extra}{json.dumps(o.signer.claims())[1:]}")

        await o.refused(doubled('{"alg":"none","alg":"ES256"}', ""))
        for extra in ('"sub":"intern",', '"exp":1,', '"aud":"x",', '"su\\u0062":"intern",'):
            await o.refused(doubled('{"alg":"ES256"}', extra))


async def test_changing_any_part_of_an_assertion_breaks_it_and_does_not_use_it_up():
    async with office() as o:
        genuine = o.signer.assertion()
        for place in range(0, len(genuine), 23):
            if genuine[place] != ".":
                other = "A" if genuine[place] != "A" else "B"
                broken = genuine[:place] + other + genuine[place + 1 :]
                o.broker.clock.now -= 61
                assert (await o.post(data=GRANT | {"client_assertion": broken})).status_code in {401, 429}
                o.broker.clock.now += 61
        o.broker.clock.now += 61
        o.broker.clock.now -= 61
        assert (await o.ask(genuine)).status_code == 200


@pytest.mark.parametrize("spelling", ["{}\n", "\n{}", " {}", "{}.", "{}.x", "{}=", "{}\x00", "{}.{}", ""])
async def test_an_assertion_has_one_spelling(spelling):
    async with office() as o:
        await o.refused(spelling.replace("{}", o.signer.assertion()))


async def test_a_huge_assertion_is_not_read():
    async with office() as o:
        await o.refused(o.signer.assertion(claims={"more": "x" * 8000}))
        await o.refused(o.signer.assertion({"kid": "x" * 5000}))


async def test_an_assertion_is_no_access_token_and_an_access_token_no_assertion():
    async with office() as o:
        assertion = o.signer.assertion(claims={"client_id": "researcher", "txn": "t", "scope": "mcp:tools"})
        answered = await o.post(url="/mcp", headers={"authorization": f"Bearer {assertion}"})
        assert answered.status_code == 401
        token = (await o.ask(assertion)).json()["access_token"]
        await o.refused(token)


@pytest.mark.parametrize(
    "kind", ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer"]
)
async def test_an_assertion_of_another_type_is_not_read(kind):
    async with office() as o:
        await o.refused(o.signer.assertion(), client_assertion_type=kind)


async def test_two_methods_at_once_are_refused_and_leave_the_assertion_unused():
    async with office() as o:
        secret = o.broker.agents.enrol("researcher")
        assertion = o.signer.assertion()
        form = GRANT | {"client_assertion": assertion}
        both = [
            await o.post(data=form, auth=("researcher", secret)),
            await o.post(data=form | {"client_id": "researcher", "client_secret": secret}),
            await o.post(data=form, headers={"authorization": "Bearer x"}),
        ]
        assert [(b.status_code, b.json()["error"]) for b in both] == [(400, "invalid_request")] * 3
        assert (await o.ask(assertion)).status_code == 200


async def test_a_genuine_assertion_of_a_suspended_agent_is_refused():
    async with office() as o:
        o.broker.agents.set_status("researcher", AgentStatus.SUSPENDED)
        assert (await o.ask(o.signer.assertion())).status_code == 401


async def test_no_assertion_is_ever_logged(caplog):
    caplog.set_level("DEBUG")
    async with office() as o:
        assertion = o.signer.assertion()
        await o.ask(assertion)
        await o.ask(assertion)
    assert assertion not in caplog.text
    assert base64.b64encode(assertion.encode()).decode() not in caplog.text
