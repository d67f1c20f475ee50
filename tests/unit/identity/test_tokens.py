import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Unauthenticated
from broker.identity.keys import load_keys
from broker.identity.token_keys import new_token_key
from broker.identity.tokens import DEFAULT_SCOPES, LEEWAY_S, AccessTokens
from broker.model import Agent, AgentId, OrganisationId
from tests.unit.identity.memory import NOW, ManualClock, MemoryKeys

ISSUER, RESOURCE = "https://broker.example/oauth", "https://broker.example/mcp"
AGENT = Agent(AgentId("researcher"), OrganisationId("acme"), frozenset())


async def tokens(clock=None, store=None) -> AccessTokens:
    clock = clock or ManualClock()
    keys = await load_keys(store or MemoryKeys(), clock)
    return AccessTokens(keys.tokens, issuer=ISSUER, resource=RESOURCE, lifetime_s=600, clock=clock)


def part(token: str, index: int) -> dict:
    segment = token.split(".")[index]
    return orjson.loads(base64.urlsafe_b64decode(segment + "=="))


async def test_a_minted_token_says_exactly_what_rfc_9068_asks_for():
    subject = await tokens()
    issued = subject.mint(AGENT, DEFAULT_SCOPES)
    assert part(issued.compact, 0) == {
        "alg": "ES256",
        "typ": "at+jwt",
        "kid": subject._keys.active.kid,
    }
    assert part(issued.compact, 1) == {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": "researcher",
        "client_id": "researcher",
        "jti": issued.claims.id,
        "txn": issued.claims.transaction,
        "iat": NOW,
        "exp": NOW + 600,
        "scope": "mcp:tools",
    }


async def test_a_minted_token_verifies_to_the_claims_it_was_minted_with():
    subject = await tokens()
    issued = subject.mint(AGENT, frozenset({"mcp:tools", "mcp:models"}))
    assert subject.verify(issued.compact) == issued.claims
    assert issued.scope == "mcp:models mcp:tools"


async def test_every_token_has_its_own_id_and_transaction():
    subject = await tokens()
    made = [subject.mint(AGENT, DEFAULT_SCOPES).claims for _ in range(50)]
    assert len({claims.id for claims in made} | {claims.transaction for claims in made}) == 100


async def test_a_token_is_good_until_the_leeway_after_its_expiry_and_then_says_how_late_it_is():
    clock = ManualClock()
    subject = await tokens(clock)
    issued = subject.mint(AGENT, DEFAULT_SCOPES)
    clock.now = issued.claims.expires_at + LEEWAY_S - 0.001
    subject.verify(issued.compact)
    clock.now = issued.claims.expires_at + 40
    with pytest.raises(Unauthenticated, match=r"^expired 40 s ago$"):
        subject.verify(issued.compact)


async def test_a_token_of_a_process_whose_clock_is_ahead_by_the_leeway_is_accepted_and_further_is_not():
    clock = ManualClock()
    subject = await tokens(clock)
    issued = subject.mint(AGENT, DEFAULT_SCOPES)
    clock.now -= LEEWAY_S
    subject.verify(issued.compact)
    clock.now -= 1
    with pytest.raises(Unauthenticated, match="not a token of this broker"):
        subject.verify(issued.compact)


async def test_a_token_signed_before_a_rotation_still_verifies_until_its_key_has_retired():
    store, clock = MemoryKeys(), ManualClock()
    keys = (await load_keys(store, clock)).tokens
    subject = AccessTokens(keys, issuer=ISSUER, resource=RESOURCE, lifetime_s=600, clock=clock)
    old = subject.mint(AGENT, DEFAULT_SCOPES)
    store.rotate(new_token_key(NOW), until=NOW + 60)
    await keys.refresh()
    assert subject.verify(old.compact) == old.claims
    new = subject.mint(AGENT, DEFAULT_SCOPES)
    assert part(new.compact, 0)["kid"] != part(old.compact, 0)["kid"]
    clock.now += 60
    with pytest.raises(Unauthenticated, match="not a token of this broker"):
        subject.verify(old.compact)
    assert subject.verify(new.compact) == new.claims


@given(
    st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,90}")
)
async def test_no_text_but_a_token_is_a_token_and_no_other_error_leaves(text):
    subject = await tokens()
    with pytest.raises(Unauthenticated, match=r"^not a token of this broker$"):
        subject.verify(text)


async def test_neither_the_token_nor_its_claims_show_the_compact_form():
    issued = (await tokens()).mint(AGENT, DEFAULT_SCOPES)
    assert issued.compact not in repr(issued)
