import anyio
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Checkpoint, Signer
from broker.audit.interface import Event, Filter
from broker.audit.tree import inclusion_proof, leaf_hash, verify_inclusion
from broker.audit.verify import verify
from broker.errors import BudgetExceeded, InvalidRequest
from broker.journal import Opening
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import NOBODY, close_call, denial, events, intent, money, open_call, quote, records


async def test_what_is_appended_can_be_read_as_it_was_hashed(store: Store):
    receipt = await store.journal.append(denial("c1", because=["rule"]))
    (first, second) = [record async for record in records(store)]
    assert orjson.loads(first.body)["type"] == "log.opened"
    body = orjson.loads(second.body)
    assert (body["log"], body["seq"], body["call"], body["agent"], body["because"]) == (
        "broker.test/audit/acme",
        1,
        "c1",
        "researcher",
        ["rule"],
    )
    assert second.leaf == leaf_hash(second.body)
    assert (receipt.log, receipt.index, receipt.leaf, receipt.size) == ("acme", 1, second.leaf.hex(), 2)


async def test_every_log_is_a_tree_of_its_own(store: Store):
    await store.journal.append(denial("a", log="acme"))
    await store.journal.append(denial("b", log="zenith"))
    await store.journal.append(denial("c", log="acme"))
    heads = await store.log.logs()
    assert [(head.name, head.origin, head.size) for head in heads] == [
        ("acme", "broker.test/audit/acme", 3),
        ("zenith", "broker.test/audit/zenith", 2),
    ]
    assert await events(store, "zenith") == [0, 1]


async def test_a_receipt_can_be_proved_against_every_later_root(store: Store):
    receipts = [await store.journal.append(denial(f"c{n}")) for n in range(9)]
    leaves = [record.leaf async for record in records(store)]
    (head,) = await store.log.logs()
    for receipt in receipts:
        proof = inclusion_proof(leaves, receipt.index)
        assert verify_inclusion(bytes.fromhex(receipt.leaf), receipt.index, head.size, proof, head.root)


async def test_the_log_of_many_writers_at_once_is_dense_and_verifies(store: Store):
    async def one(n: int) -> None:
        await open_call(store, f"c{n}", quote(n % 3, researcher=None))
        await close_call(store, f"c{n}", n % 3)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for n in range(200):
                tasks.start_soon(one, n)
    report = await verify(store.log, keys=[])
    assert report.problems == ()
    assert [log.size for log in report.logs] == [401]


async def test_calls_that_are_still_open_are_listed_and_no_problem(store: Store):
    await open_call(store, "a", quote(5, researcher=100))
    await open_call(store, "b", quote(5, researcher=100))
    await close_call(store, "a", 5)
    report = await verify(store.log, keys=[])
    assert report.ok
    assert report.logs[0].open_calls == ("b",)


async def test_records_are_found_by_call_agent_event_and_place(store: Store):
    await open_call(store, "a", quote(0))
    await store.journal.append(denial("b", agent="planner"))
    await close_call(store, "a", 0)
    await store.journal.append(denial("c"))
    assert await events(store, where=Filter(call="a")) == [1, 3]
    assert await events(store, where=Filter(agent="planner")) == [2]
    assert await events(store, where=Filter(events=frozenset({Event.CALL_DENIED}))) == [2, 4]
    assert await events(store, where=Filter(from_seq=3)) == [3, 4]
    assert await events(store, where=Filter(agent="researcher", events=frozenset({Event.CALL_DENIED}))) == [4]


async def test_the_newest_records_come_in_order(store: Store):
    for n in range(4):
        await store.journal.append(denial(f"c{n}", agent="a" if n % 2 else "b"))
    assert await events(store, where=Filter(last=2)) == [3, 4]
    assert await events(store, where=Filter(last=1, agent="b")) == [3]
    assert await events(store, where=Filter(last=99)) == [0, 1, 2, 3, 4]
    assert await events(store, where=Filter(last=0)) == []


async def test_long_logs_are_read_to_their_end(store: Store):
    async with anyio.create_task_group() as tasks:
        for n in range(1203):
            tasks.start_soon(store.journal.append, denial(f"c{n}"))
    assert await events(store) == list(range(1204))


async def test_a_log_that_is_not_there_has_no_records_and_no_checkpoints(store: Store):
    assert await events(store, "nobody") == []
    assert await store.log.checkpoints("nobody") == []


async def test_names_of_logs_calls_and_agents_are_case_sensitive(store: Store):
    await store.journal.append(denial("c", log="Acme", agent="Bo"))
    await store.journal.append(denial("C", log="acme", agent="bo"))
    assert [head.name for head in await store.log.logs()] == ["Acme", "acme"]
    assert await events(store, "acme", Filter(call="c")) == []
    assert await events(store, "acme", Filter(agent="Bo")) == []
    await open_call(store, "x", quote(5, bo=10))
    assert await money(store, "Bo") == (0, 0)


async def test_a_fact_that_a_log_cannot_hold_is_refused_alone(store: Store):
    outcomes: list[str] = []

    async def append(n: int) -> None:
        try:
            await store.journal.append(denial(f"c{n}", score=n if n % 2 else n / 10))
            outcomes.append("kept")
        except InvalidRequest:
            outcomes.append("refused")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(append, n)
    assert (outcomes.count("kept"), outcomes.count("refused")) == (10, 10)
    assert (await verify(store.log, keys=[])).ok
    assert len(await events(store)) == 11


async def test_time_in_a_log_never_runs_backwards_even_if_the_clock_does(backend: Backend):
    times = iter([1_700_000_010.0, 1_700_000_000.0, 1_700_000_020.5])
    async with backend.open(clock=lambda: next(times)) as store:
        for n in range(3):
            await store.journal.append(denial(f"c{n}"))
        stamps = [orjson.loads(record.body)["ts"][17:] async for record in records(store)]
    assert stamps == ["30.000000Z", "30.000000Z", "30.000000Z", "40.500000Z"]


async def test_a_checkpoint_is_kept_once_and_in_order_of_size(store: Store):
    signer = Signer(Ed25519PrivateKey.generate())
    notes: list[str] = []
    for n in range(3):
        await store.journal.append(denial(f"c{n}"))
        (head,) = await store.log.logs()
        notes.append(signer.sign(Checkpoint(head.origin, head.size, head.root)))
    for note, size in ((notes[2], 4), (notes[0], 2), (notes[1], 3), ("another", 3)):
        await store.log.save_checkpoint("acme", size, note)
    assert await store.log.checkpoints("acme") == notes
    report = await verify(store.log, keys=[signer.public])
    assert report.ok
    assert (report.logs[0].checkpoints, report.logs[0].signed_size) == (3, 4)


async def test_a_checkpoint_of_a_log_that_is_not_there_is_refused(store: Store):
    with pytest.raises(InvalidRequest, match="no log `acme`"):
        await store.log.save_checkpoint("acme", 2, "note")


async def test_appending_while_a_log_is_verified_disturbs_neither(store: Store):
    for n in range(30):
        await store.journal.append(denial(f"c{n}"))

    async def append() -> None:
        for n in range(30, 90):
            await store.journal.append(denial(f"c{n}"))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append)
            for _ in range(10):
                assert (await verify(store.log, keys=[])).problems == ()


async def test_two_stores_on_one_state_interleave_and_the_logs_stay_whole(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:

        async def busy(store: Store, name: str) -> None:
            for n in range(40):
                await open_call(store, f"{name}{n}", quote(1, researcher=None))
                await close_call(store, f"{name}{n}", 1)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(busy, server, "s")
                tasks.start_soon(busy, cli, "c")
                tasks.start_soon(busy, server, "t")
        for store in (server, cli):
            assert (await verify(store.log, keys=[])).problems == ()
            assert await money(store, "researcher") == (120, 0)
        assert await events(server) == list(range(241))


async def test_two_stores_that_open_the_same_log_at_once_open_it_once(backend: Backend):
    async with backend.open() as one, backend.open(serve=False) as two:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.journal.append, denial("a"))
            tasks.start_soon(two.journal.append, denial("b"))
        assert await events(one, where=Filter(events=frozenset({Event.LOG_OPENED}))) == [0]
        assert (await verify(two.log, keys=[])).problems == ()


async def test_two_stores_hold_one_budget(backend: Backend):
    fitted: list[str] = []
    refused: list[str] = []
    async with backend.open() as one, backend.open(serve=False) as two:

        async def attempt(store: Store, call: str) -> None:
            try:
                await open_call(store, call, quote(10, researcher=100))
                fitted.append(call)
            except BudgetExceeded:
                refused.append(call)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for n in range(15):
                    tasks.start_soon(attempt, one, f"a{n}")
                    tasks.start_soon(attempt, two, f"b{n}")
        assert (len(fitted), len(refused)) == (10, 20)
        assert await money(one, "researcher") == (0, 100)
        other = two if fitted[0].startswith("a") else one
        await close_call(other, fitted[0], 0)
        assert await money(one, "researcher") == (0, 90)


async def test_an_intent_has_its_facts_in_the_log(store: Store):
    await store.journal.open(Opening("a", quote(0), intent("a", what={"name": "notes__add"}), NOBODY))
    last = [orjson.loads(record.body) async for record in records(store)][-1]
    assert (last["type"], last["what"]) == ("call.intent", {"name": "notes__add"})


async def test_the_newest_records_before_a_place_come_in_order(store: Store):
    for number in range(6):
        await store.journal.append(denial(f"c{number}"))
    assert await events(store, where=Filter(last=2, before_seq=4)) == [2, 3]
    assert await events(store, where=Filter(before_seq=2)) == [0, 1]
    assert await events(store, where=Filter(before_seq=0)) == []
