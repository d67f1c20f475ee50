"""What was said in calls is kept apart from the log, opened only with a record, and dies with its people."""

from typing import Any

import orjson
import pytest

from broker.audit.interface import Entry, Event
from broker.audit.payloads import Identifier, Part, Payload, commitment
from broker.audit.verify import verify
from broker.errors import InvalidRequest, UnknownTarget
from broker.journal import Closing, Opening
from broker.ledger.interface import NOTHING
from broker.payloads import Payloads
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import NOBODY, ORG, intent, outcome, quote, records

ANNA, BERT = Identifier("anna@example.com"), Identifier("bert@example.com")
SAID = b'{"q":"what does anna owe?"}'
ANSWER = b'{"text":"twelve euros"}'


async def made(
    store: Store, call: str = "c1", *people: Identifier, log: str = ORG, complete: bool = True
) -> None:
    """A call about these people."""
    sent = Payload(Part.ARGUMENTS, SAID, people, complete)
    await store.journal.open(Opening(call, quote(0), intent(call, log=log), NOBODY, sent=sent))
    released = Payload(Part.RESULT, ANSWER, people, complete)
    await store.journal.close(Closing(call, NOTHING, outcome(call, log=log), released=released))


async def bodies(store: Store, log: str = ORG) -> list[dict[str, Any]]:
    return [orjson.loads(record.body) async for record in records(store, log)]


async def test_what_was_said_can_be_read_again_and_is_what_the_log_commits_to(keeping: Store):
    await made(keeping)
    sent, released = await Payloads(keeping.payloads).read("c1", by="dana", reason="a complaint")
    assert (sent.part, sent.content, sent.holds) == (Part.ARGUMENTS, SAID, True)
    assert (released.part, released.content, released.holds) == (Part.RESULT, ANSWER, True)
    _, begun, ended, _ = await bodies(keeping)
    assert begun["arguments"] == {
        "bytes": len(SAID),
        "commitment": commitment(Part.ARGUMENTS, sent.salt, SAID),
    }
    assert ended["result"]["commitment"] == commitment(Part.RESULT, released.salt, ANSWER)


async def test_equal_contents_leave_nothing_equal_in_the_log(keeping: Store):
    await made(keeping, "c1")
    await made(keeping, "c2")
    _, one, _, two, _ = await bodies(keeping)
    assert one["arguments"]["commitment"] != two["arguments"]["commitment"]


async def test_that_somebody_reads_is_recorded_with_the_reason(keeping: Store):
    await made(keeping)
    await Payloads(keeping.payloads).read("c1", by="dana", reason="a complaint")
    last = (await bodies(keeping))[-1]
    assert (last["type"], last["read"], last["by"]) == ("payload.accessed", "c1", "dana")
    assert (last["reason"], last["parts"]) == ("a complaint", ["arguments", "result"])


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
async def test_without_a_reason_nothing_is_read(keeping: Store, reason: str):
    await made(keeping)
    with pytest.raises(InvalidRequest, match="say why"):
        await Payloads(keeping.payloads).read("c1", by="dana", reason=reason)


async def test_of_a_call_that_never_was_nothing_is_read_or_recorded(keeping: Store):
    await made(keeping)
    before = len(await bodies(keeping))
    with pytest.raises(UnknownTarget, match="nothing is kept"):
        await Payloads(keeping.payloads).read("c9", by="dana", reason="curious")
    assert len(await bodies(keeping)) == before


async def test_unless_it_is_wanted_only_what_proves_the_commitment_is_kept(store: Store):
    await made(store)
    sent, _ = await Payloads(store.payloads).read("c1", by="dana", reason="a dispute")
    assert sent.content is None
    said = (await bodies(store))[1]["arguments"]["commitment"]
    assert commitment(Part.ARGUMENTS, sent.salt, SAID) == said


async def test_what_may_be_about_more_people_than_are_named_is_not_kept(keeping: Store):
    await made(keeping, "c1", ANNA, complete=False)
    sent, _ = await Payloads(keeping.payloads).read("c1", by="dana", reason="a dispute")
    assert sent.content is None


async def test_a_person_has_one_random_pseudonym_however_they_are_spelt(keeping: Store):
    await made(keeping, "c1", ANNA)
    await made(keeping, "c2", Identifier(" Anna@Example.COM "))
    (anna,) = await keeping.payloads.subjects()
    assert (anna.identity, anna.payloads) == ("anna@example.com", 4)
    assert {tuple(body["subjects"]) for body in await bodies(keeping) if "subjects" in body} == {(anna.id,)}
    assert "anna" not in anna.id


async def test_whom_only_a_guard_has_seen_is_found_but_not_named(keeping: Store):
    await made(keeping, "c1", Identifier(handle=keeping.payloads.handle("anna@example.com")))
    (anna,) = await keeping.payloads.subjects()
    assert anna.identity is None
    (about,) = await Payloads(keeping.payloads).about(
        "ANNA@example.com", log=None, by="dana", basis="art. 15"
    )
    assert [one.content for one in about.payloads] == [SAID, ANSWER]


async def test_a_person_is_named_once_an_argument_says_who_a_guard_has_seen(keeping: Store):
    await made(keeping, "c1", Identifier(handle=keeping.payloads.handle("anna@example.com")))
    await made(keeping, "c2", ANNA)
    (anna,) = await keeping.payloads.subjects()
    assert anna.identity == "anna@example.com"


async def test_the_same_person_is_somebody_else_in_another_organisation(keeping: Store):
    await made(keeping, "c1", ANNA)
    await made(keeping, "c2", ANNA, log="other")
    one, two = await keeping.payloads.subjects()
    assert (one.log, two.log) == (ORG, "other")
    assert one.id != two.id
    await Payloads(keeping.payloads).erase("anna@example.com", log="other", by="dana", basis="art. 17")
    assert [subject.id for subject in await keeping.payloads.subjects()] == [one.id]


async def test_everything_about_a_person_comes_with_a_record_that_it_was_given(keeping: Store):
    await made(keeping, "c1", ANNA)
    await made(keeping, "c2", BERT)
    (about,) = await Payloads(keeping.payloads).about(
        "anna@example.com", log=None, by="dana", basis="art. 15"
    )
    assert [orjson.loads(body)["call"] for _, body in about.records] == ["c1", "c1"]
    assert [one.content for one in about.payloads] == [SAID, ANSWER]
    last = (await bodies(keeping))[-1]
    assert (last["type"], last["subject"], last["payloads"]) == ("subject.exported", about.subject.id, 2)
    assert "anna" not in repr(last)


async def test_an_erasure_takes_everything_that_is_about_the_person_and_nothing_else(keeping: Store):
    payloads = Payloads(keeping.payloads)
    await made(keeping, "anna", ANNA)
    await made(keeping, "both", ANNA, BERT)
    await made(keeping, "bert", BERT)
    (erased,) = await payloads.erase("anna@example.com", log=None, by="dana", basis="art. 17(1)(b)")
    assert erased.payloads == 4
    for gone in ("anna", "both"):
        with pytest.raises(UnknownTarget):
            await payloads.read(gone, by="dana", reason="to see")
    assert len(await payloads.read("bert", by="dana", reason="to see")) == 2
    (bert,) = await keeping.payloads.subjects()
    assert (bert.identity, bert.payloads) == ("bert@example.com", 2)


async def test_an_erasure_is_recorded_and_the_log_still_verifies(keeping: Store):
    await made(keeping, "c1", ANNA)
    (erased,) = await Payloads(keeping.payloads).erase(
        "anna@example.com", log=None, by="dana", basis="art. 17"
    )
    record = (await bodies(keeping))[erased.seq]
    assert (record["type"], record["subject"], record["payloads"]) == ("subject.erased", erased.subject, 2)
    assert (record["by"], record["basis"]) == ("dana", "art. 17")
    assert (await verify(keeping.log, keys=[])).problems == ()


async def test_who_is_erased_and_comes_back_is_somebody_new(keeping: Store):
    await made(keeping, "c1", ANNA)
    (erased,) = await Payloads(keeping.payloads).erase(
        "anna@example.com", log=None, by="dana", basis="art. 17"
    )
    await made(keeping, "c2", ANNA)
    (anna,) = await keeping.payloads.subjects()
    assert anna.id != erased.subject
    with pytest.raises(UnknownTarget):
        await Payloads(keeping.payloads).erase(erased.subject, log=None, by="dana", basis="art. 17")


async def test_a_process_that_knew_the_person_writes_nothing_under_a_key_that_another_has_destroyed(
    backend: Backend,
):
    async with (
        backend.open(keep_payloads=True) as one,
        backend.open(serve=False, keep_payloads=True) as other,
    ):
        await made(one, "c1", ANNA)
        (erased,) = await Payloads(other.payloads).erase(
            "anna@example.com", log=None, by="dana", basis="a. 17"
        )
        await made(one, "c2", ANNA)
        (anna,) = await other.payloads.subjects()
        assert anna.id != erased.subject
        assert [p.holds for p in await Payloads(other.payloads).read("c2", by="dana", reason="?")] == [
            True,
            True,
        ]


async def test_payloads_survive_a_restart(backend: Backend):
    async with backend.open(keep_payloads=True) as store:
        await made(store, "c1", ANNA)
    async with backend.open() as store:
        sent, _ = await Payloads(store.payloads).read("c1", by="dana", reason="a complaint")
        assert sent.content == SAID
        (anna,) = await store.payloads.subjects()
        assert anna.identity == "anna@example.com"


async def test_a_call_that_is_refused_in_the_commit_leaves_no_payload(keeping: Store):
    entry = Entry(ORG, Event.CALL_INTENT, {"bad": 1.5}, "c1", "researcher")
    with pytest.raises(InvalidRequest):
        await keeping.journal.open(
            Opening("c1", quote(0), entry, NOBODY, sent=Payload(Part.ARGUMENTS, SAID, (ANNA,)))
        )
    with pytest.raises(UnknownTarget):
        await Payloads(keeping.payloads).read("c1", by="dana", reason="?")
