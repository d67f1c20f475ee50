from dataclasses import replace

import orjson
import pytest

from broker.errors import ConfigurationError
from broker.identity.interface import KeyUse
from broker.identity.keys import load_keys
from tests.unit.identity.memory import NOW, ManualClock, MemoryKeys


async def test_a_restart_finds_the_keys_that_the_first_start_made():
    store = MemoryKeys()
    first, second = await load_keys(store, ManualClock()), await load_keys(store, ManualClock())
    assert first.tokens.jwks() == second.tokens.jwks()
    assert (first.seal, first.digest) == (second.seal, second.digest)
    message = b"checkpoint"
    second.checkpoint.public_key().verify(first.checkpoint.sign(message), message)


async def test_each_use_has_a_key_of_its_own():
    keys = await load_keys(MemoryKeys(), ManualClock())
    assert keys.seal != keys.digest
    assert len(keys.seal) == len(keys.digest) == 32


async def test_a_key_remembers_when_it_was_made():
    store = MemoryKeys()
    await load_keys(store, ManualClock())
    assert {key.created_at for made in store.stored.values() for key in made} == {NOW}


async def test_of_seals_the_newest_is_used_and_all_are_known():
    store, other = MemoryKeys(), MemoryKeys()
    old, new = await load_keys(store, ManualClock()), await load_keys(other, ManualClock())
    store.stored[KeyUse.SEALS].insert(0, other.stored[KeyUse.SEALS][0])
    both = await load_keys(store, ManualClock())
    assert (both.seal, both.retired_seals) == (new.seal, (old.seal,))


@pytest.mark.parametrize("material", ["", "{}", "not json", '{"kty":"EC"}', "AAAA", "%%%"])
@pytest.mark.parametrize("use", list(KeyUse))
async def test_a_damaged_key_stops_the_start_with_its_name(use, material):
    store = MemoryKeys()
    await load_keys(store, ManualClock())
    good, *others = store.stored[use]
    store.stored[use] = [replace(good, material=material), *others]
    with pytest.raises(ConfigurationError, match=use) as refused:
        await load_keys(store, ManualClock())
    assert good.kid in refused.value.message


async def test_a_token_key_under_the_wrong_name_or_without_its_private_part_stops_the_start():
    store = MemoryKeys()
    await load_keys(store, ManualClock())
    good, other = store.stored[KeyUse.TOKENS]
    public = {k: v for k, v in orjson.loads(good.material).items() if k != "d"}
    for bad in (replace(good, kid="other"), replace(good, material=orjson.dumps(public).decode())):
        store.stored[KeyUse.TOKENS] = [bad, other]
        with pytest.raises(ConfigurationError):
            await load_keys(store, ManualClock())


async def test_no_key_shows_in_a_representation():
    store = MemoryKeys()
    keys = await load_keys(store, ManualClock())
    shown = repr(keys) + repr(store.stored)
    assert not any(key.material in shown for made in store.stored.values() for key in made)
    assert repr(keys.seal) not in shown
