import pytest

from broker.identity.assertions import LEEWAY_S, MAX_LIFETIME_S
from broker.identity.clients import FAILURES_ALLOWED
from broker.identity.jwks import ALGORITHMS
from broker.model import AgentStatus
from tests.unit.identity.memory import NOW, ManualClock, MemoryAgents, clients
from tests.unit.identity.signing import EC, OF, RSA, Signer, public

URL = "https://broker.example/oauth"
HOME = "192.0.2.1"


def registered(key=EC, clock: ManualClock | None = None):
    agents = MemoryAgents()
    agents.enrol("researcher")
    agents.register("researcher", public(key))
    return agents, clients(agents, clock or ManualClock())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_client_is_who_has_signed_with_its_key(algorithm):
    key = OF[algorithm]
    agents, subject = registered(key)
    signer = Signer("researcher", URL, key, algorithm)
    attempt = await subject.authenticate_assertion(signer.assertion(), None, HOME)
    assert attempt.accepted
    assert attempt.agent is agents.records["researcher"]


@pytest.mark.parametrize("audience", [URL, f"{URL}/", f"{URL}/token", [URL]])
async def test_the_issuer_with_or_without_a_slash_and_the_token_endpoint_are_the_audience(audience):
    _, subject = registered()
    signer = Signer("researcher", audience)
    assert (await subject.authenticate_assertion(signer.assertion(), "researcher", HOME)).accepted


async def test_an_assertion_is_good_once():
    _, subject = registered()
    signer = Signer("researcher", URL)
    one, other = signer.assertion(), signer.assertion()
    answers = [(await subject.authenticate_assertion(a, None, HOME)).accepted for a in (one, one, other, one)]
    assert answers == [True, False, True, False]


@pytest.mark.parametrize("typ", ["JWT", "jwt", "client-authentication+jwt"])
async def test_the_types_that_clients_write_are_accepted(typ):
    _, subject = registered()
    signer = Signer("researcher", URL)
    assert (await subject.authenticate_assertion(signer.assertion({"typ": typ}), None, HOME)).accepted


@pytest.mark.parametrize(
    ("issued", "lifetime", "accepted"),
    [
        (0, MAX_LIFETIME_S, True),
        (0, MAX_LIFETIME_S + 1, False),
        (0, 86400, False),
        (LEEWAY_S, 60, True),
        (LEEWAY_S + 1, 60, False),
        (-60 - LEEWAY_S + 1, 60, True),
        (-60 - LEEWAY_S, 60, False),
        (0, 0, False),
        (0, -1, False),
    ],
)
async def test_an_assertion_lives_five_minutes_at_most_and_clocks_may_differ_by_half_a_minute(
    issued, lifetime, accepted
):
    _, subject = registered()
    times = {"iat": NOW + issued, "exp": NOW + issued + lifetime}
    assertion = Signer("researcher", URL).assertion(claims=times)
    assert (await subject.authenticate_assertion(assertion, None, HOME)).accepted is accepted


async def test_either_of_two_keys_is_good_and_a_removed_one_is_not():
    agents, subject = registered(EC)
    agents.register("researcher", public(RSA))
    ec, rsa = Signer("researcher", URL), Signer("researcher", URL, RSA, "RS256", made=100)
    for signer in (ec, rsa):
        assert (await subject.authenticate_assertion(signer.assertion(), None, HOME)).accepted
    agents.stored_keys["researcher"].pop(0)
    assert (await subject.authenticate_assertion(ec.assertion(), None, HOME)).accepted
    assert not (await subject.authenticate_assertion(rsa.assertion(), None, HOME)).accepted


@pytest.mark.parametrize("status", [AgentStatus.SUSPENDED, AgentStatus.REVOKED])
async def test_a_genuine_assertion_of_an_agent_that_may_not_act_is_refused(status):
    agents, subject = registered()
    agents.set_status("researcher", status)
    refused = await subject.authenticate_assertion(Signer("researcher", URL).assertion(), None, HOME)
    assert (refused.accepted, refused.agent) == (False, agents.records["researcher"])


async def test_failed_assertions_count_like_failed_secrets():
    agents, subject = registered()
    secret = agents.enrol("researcher")
    for _ in range(FAILURES_ALLOWED):
        wrong = Signer("researcher", "https://other.example").assertion()
        assert (await subject.authenticate_assertion(wrong, None, HOME)).retry_after_s is None
    assert (await subject.authenticate("researcher", secret, HOME)).retry_after_s == 60
    right = Signer("researcher", URL).assertion()
    assert (await subject.authenticate_assertion(right, None, HOME)).retry_after_s == 60
    assert (await subject.authenticate_assertion(right, None, "192.0.2.2")).accepted
