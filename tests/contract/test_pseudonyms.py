"""What every backend promises of pseudonyms: same text, same name; shown to some, kept for a while, erased."""

import anyio

from broker.audit.interface import Entry
from broker.guardrails.pseudonyms import Hidden, Holder
from broker.model import AgentId
from broker.payloads import Payloads
from broker.storage.store import Store
from tests.contract.conftest import Backend

ANNA, BELA = "anna.kovacs@firma-k.hu", "bela.nagy@firma-k.hu"
DAY = 86_400
ADA = Holder("acme", "dana", "t-1", AgentId("ada"))
ELSEWHERE = (
    Holder("acme", "dana", "t-1", AgentId("eve")),
    Holder("acme", "dana", "t-2", AgentId("ada")),
    Holder("acme", "eve", "t-1", AgentId("ada")),
    Holder("globex", "dana", "t-1", AgentId("ada")),
)


def email(store: Store, text: str) -> Hidden:
    return Hidden("personal", "email", text, (store.payloads.handle(text),))


def no_payload(count: int) -> Entry:
    raise AssertionError(f"there are no {count} payloads to remove")


async def issue(store: Store, *texts: str, holder: Holder = ADA) -> list[str | None]:
    names = await store.pseudonyms.issue(holder, [email(store, text) for text in texts], ())
    return [names.get(text) for text in texts]


async def known(store: Store, *names: str, holder: Holder = ADA) -> list[str]:
    return [one.text for one in await store.pseudonyms.known(holder, names)]


async def test_the_same_text_has_the_same_name_and_another_text_another(store: Store):
    assert await issue(store, ANNA, BELA, ANNA) == ["EMAIL_1", "EMAIL_2", "EMAIL_1"]
    assert await issue(store, BELA) == ["EMAIL_2"]
    assert await issue(store, ANNA.upper()) == ["EMAIL_3"], "it is restored exactly as it was written"
    (one,) = await store.pseudonyms.known(ADA, ["EMAIL_2", "EMAIL_9"])
    assert (one.name, one.guard, one.type, one.text) == ("EMAIL_2", "personal", "email", BELA)


async def test_no_new_name_is_one_of_those_that_are_taken(store: Store):
    names = await store.pseudonyms.issue(ADA, [email(store, ANNA)], {"EMAIL_1", "EMAIL_2", "IBAN_3"})
    assert names == {ANNA: "EMAIL_3"}


async def test_nobody_else_and_no_other_transaction_is_given_a_value(store: Store):
    await issue(store, ANNA)
    for holder in ELSEWHERE:
        assert await known(store, "EMAIL_1", holder=holder) == []
    assert await issue(store, BELA, ANNA, holder=ELSEWHERE[1]) == ["EMAIL_1", "EMAIL_2"]


async def test_an_agent_that_was_shown_a_name_by_another_has_it_and_only_that(store: Store):
    eve = ELSEWHERE[0]
    await issue(store, ANNA, BELA)
    await store.pseudonyms.share(ADA, ["EMAIL_1"], eve.agent)
    assert await known(store, "EMAIL_1", "EMAIL_2", holder=eve) == [ANNA]
    await store.pseudonyms.share(eve, ["EMAIL_2"], eve.agent)
    assert await known(store, "EMAIL_2", holder=eve) == [], "nobody hands on what they do not have"
    assert await issue(store, BELA, holder=eve) == ["EMAIL_2"]
    assert await known(store, "EMAIL_2", holder=eve) == [BELA]


async def test_two_processes_give_no_name_twice(backend: Backend):
    texts = [f"n{number}@firma-k.hu" for number in range(40)]
    given: dict[str, set[str | None]] = {text: set() for text in texts}

    async def each(store: Store, mine: list[str]) -> None:
        for text in mine:
            given[text] |= set(await issue(store, text))

    async with backend.open() as one, backend.open(serve=False) as other:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(each, one, texts)
                tasks.start_soon(each, other, texts[::-1])
        assert sorted(map(len, given.values())) == [1] * 40
        assert len(set[str | None]().union(*given.values())) == 40
        assert await known(other, *map(str, given[texts[0]])) == [texts[0]]


async def test_values_go_when_they_have_rested_for_a_day_and_their_numbers_are_not_given_again(
    backend: Backend,
):
    now = [1_700_000_000.0]
    async with backend.open(clock=lambda: now[0]) as store:
        await issue(store, ANNA)
        now[0] += DAY - 10
        assert await known(store, "EMAIL_1") == [ANNA]
        now[0] += DAY - 10
        assert await known(store, "EMAIL_1") == [ANNA], "using one keeps them"
        now[0] += DAY + 10
        assert await known(store, "EMAIL_1") == []
        assert await issue(store, BELA) == ["EMAIL_2"]
        now[0] += 31 * DAY
        assert await issue(store, ANNA) == ["EMAIL_1"]


async def test_erasing_a_person_takes_their_values_and_no_number_is_given_again(store: Store):
    birth = Hidden("personal", "date-of-birth", "1990-01-02", (store.payloads.handle(ANNA),))
    assert await issue(store, ANNA, BELA) == ["EMAIL_1", "EMAIL_2"]
    await store.pseudonyms.issue(ADA, [birth], ())
    await Payloads(store.payloads).erase(ANNA, log=None, by="dana", basis="art. 17")
    assert await known(store, "EMAIL_1", "EMAIL_2", "DATE_OF_BIRTH_1") == [BELA]
    assert await issue(store, ANNA) == ["EMAIL_3"]
    assert await known(store, "EMAIL_1") == []


async def test_a_person_is_known_as_long_as_a_value_is_and_no_longer(backend: Backend):
    now = [1_700_000_000.0]
    async with backend.open(clock=lambda: now[0]) as store:
        await issue(store, ANNA)

        await store.pruning.prune_payloads("acme", 0, no_payload)
        assert len(await store.payloads.subjects()) == 1
        now[0] += DAY + 10
        await store.pruning.prune_payloads("acme", 0, no_payload)
        assert await store.payloads.subjects() == []


async def test_a_value_whose_key_is_gone_stands_for_nothing_and_gets_a_new_name(backend: Backend):
    now = [1_700_000_000.0]
    async with backend.open(clock=lambda: now[0]) as store:
        await issue(store, ANNA)
        day = int(now[0]) // DAY

        await store.pruning.prune_payloads("acme", day + 1, no_payload)
        assert await known(store, "EMAIL_1") == []
        assert await issue(store, ANNA) == ["EMAIL_2"]
        assert await known(store, "EMAIL_2") == [ANNA]
