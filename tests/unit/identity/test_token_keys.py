from joserfc import jwk

from broker.identity.interface import KeyState
from broker.identity.token_keys import TokenKeys, new_token_key
from tests.unit.identity.memory import NOW, ManualClock, MemoryKeys


async def started(store: MemoryKeys, clock: ManualClock | None = None) -> TokenKeys:
    keys = TokenKeys(store, clock or ManualClock())
    await keys.refresh()
    return keys


def states(keys: TokenKeys) -> list[KeyState]:
    return [key.state for key in keys.held()]


async def test_a_first_start_makes_a_key_to_sign_with_and_the_next_one():
    store = MemoryKeys()
    keys = await started(store)
    assert states(keys) == [KeyState.NEXT, KeyState.ACTIVE]
    assert (await started(store)).active.kid == keys.active.kid


async def test_the_published_set_holds_every_key_that_holds_and_no_private_part():
    keys = await started(MemoryKeys())
    published = keys.jwks()["keys"]
    assert [key["kid"] for key in published] == [key.kid for key in keys.held()]
    for key in published:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert key["kid"] == jwk.thumbprint({name: key[name] for name in ("kty", "crv", "x", "y")})


async def test_a_rotation_is_taken_into_use_by_looking_again():
    store, clock = MemoryKeys(), ManualClock()
    keys = await started(store, clock)
    first, following = keys.active.kid, keys.held()[0].kid
    assert not await keys.refresh()
    before = keys.generation
    store.rotate(new_token_key(NOW), until=NOW + 60)
    assert keys.active.kid == first
    assert await keys.refresh()
    assert keys.generation > before
    assert keys.active.kid == following
    assert states(keys) == [KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRING]


async def test_a_retired_key_is_neither_published_nor_accepted():
    store, clock = MemoryKeys(), ManualClock()
    keys = await started(store, clock)
    first = keys.active.kid
    store.rotate(new_token_key(NOW), until=NOW + 60)
    await keys.refresh()
    clock.now += 59
    assert keys.find(first) is not None
    clock.now += 1
    assert keys.find(first) is None
    assert first not in {key["kid"] for key in keys.jwks()["keys"]}
    assert keys.find("unknown") is None
