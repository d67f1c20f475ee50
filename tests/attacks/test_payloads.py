"""Threat: whoever owns files, backups or a token learns what was said to or about a person, or bends it."""

import base64
import json
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import apsw
import pytest

from broker.audit.payloads import Identifier, Part, Payload
from broker.audit.verify import verify
from broker.errors import ConfigurationError, UnknownTarget
from broker.journal import Closing, Opening
from broker.ledger.interface import NOTHING
from broker.payloads import Payloads
from broker.storage.sqlite import open_store
from broker.storage.store import Store
from tests.contract.words import NOBODY, intent, outcome, quote
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool

ANNA = "anna.quite-unmistakable@firma-k.hu"
SECRET = "owes twelve thousand"


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Store]:
    async with open_store(
        folder / "broker.db", deployment="broker.test", serve=False, keep_payloads=True
    ) as store:
        yield store


async def said(store: Store, call: str, who: str = ANNA) -> None:
    people = (Identifier(who),)
    sent = Payload(Part.ARGUMENTS, f"{who} {SECRET}".encode(), people)
    await store.journal.open(Opening(call, quote(0), intent(call), NOBODY, sent=sent))
    released = Payload(Part.RESULT, f"yes, {who} {SECRET}".encode(), people)
    await store.journal.close(Closing(call, NOTHING, outcome(call), released=released))


def sql(folder: Path, statement: str, *bindings: Any) -> list[Any]:
    connection = apsw.Connection(str(folder / "broker.db"))
    try:
        return connection.execute(statement, bindings).fetchall()
    finally:
        connection.close()


async def problems(store: Store) -> list[tuple[str, int]]:
    report = await verify(store.log, keys=[], payloads=store.payloads)
    return [(problem.log, problem.seq) for problem in report.problems]


async def test_a_payload_that_was_altered_is_named_and_never_shown(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
        sql(tmp_path, "update payload set sealed = zeroblob(length(sealed)) where id & 1 = 1")
        sent, released = await Payloads(store.payloads).read("c1", by="dana", reason="a complaint")
        assert (sent.holds, sent.content, released.holds) == (False, None, True)
        assert await problems(store) == [("acme", 1)]


async def test_a_payload_that_was_deleted_is_named(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
        await said(store, "c2")
        ((gone,),) = sql(tmp_path, "select min(id) from payload")
        sql(tmp_path, "delete from payload where id = ?", gone)
        sql(tmp_path, "delete from payload_subject where payload = ?", gone)
        assert await problems(store) == [("acme", 1)]


async def test_the_erasure_of_somebody_else_is_no_reason_for_a_payload_to_be_gone(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
        await said(store, "c2", "bela@firma-k.hu")
        await Payloads(store.payloads).erase(ANNA, log=None, by="dana", basis="art. 17")
        assert await problems(store) == []
        sql(tmp_path, "delete from payload")
        assert await problems(store) == [("acme", 3), ("acme", 4)]


async def test_a_payload_of_another_call_cannot_take_its_place(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
        await said(store, "c2")
        ((one,), (two,)) = sql(tmp_path, "select id from payload where id & 1 = 1 order by id")
        sql(
            tmp_path,
            "update payload set sealed = (select sealed from payload where id = ?) where id = ?",
            two,
            one,
        )
        assert await problems(store) == [("acme", one & 0xFF)]


async def test_a_commitment_that_was_rewritten_is_named(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
        sql(
            tmp_path,
            'update audit_rec set body = cast(replace(cast(body as text), \'"commitment":"\', \'"commitment":"f\')'
            " as blob) where type = 'call.intent'",
        )
        assert ("acme", 1) in await problems(store)


async def test_a_copy_of_the_state_from_before_an_erasure_cannot_be_read_with_the_keys_of_after(
    tmp_path: Path,
):
    state, copy = tmp_path / "state", tmp_path / "copy"
    async with opened(state) as store:
        await said(store, "c1")
    shutil.copytree(state, copy)
    async with opened(state) as store:
        await Payloads(store.payloads).erase(ANNA, log=None, by="dana", basis="art. 17")
    for suffix in ("", "-wal", "-shm"):
        (copy / f"keys.db{suffix}").unlink(missing_ok=True)
    shutil.copy(state / "keys.db", copy / "keys.db")
    async with opened(copy) as store:
        assert [one.identity for one in await store.payloads.subjects()] == [None]
        assert [one.holds for one in await Payloads(store.payloads).read("c1", by="eve", reason="?")] == [
            False
        ] * 2


async def test_without_the_wrapping_key_neither_file_opens_anything(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
    (tmp_path / "payload.key").unlink()
    with pytest.raises(ConfigurationError, match="wrapped under another key"):
        async with opened(tmp_path):
            pass


async def test_with_the_state_alone_nobody_can_try_out_who_a_person_is(tmp_path: Path):
    async with opened(tmp_path) as store:
        await said(store, "c1")
    for file in tmp_path.glob("keys.db*"):
        file.unlink()
    async with opened(tmp_path) as store:
        with pytest.raises(UnknownTarget):
            await Payloads(store.payloads).about(ANNA, log=None, by="eve", basis="guessing")


def spellings(text: str) -> Iterator[bytes]:
    """How a text may lie in a file: the usual encodings, and base64 of each at every alignment."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        plain = text.encode(encoding)
        yield plain
        yield plain.hex().encode()
        for shift in range(3):
            whole = base64.b64encode(b"\0" * shift + plain)
            yield whole[4 if shift else 0 : len(whole) - 4]


def left_of(folder: Path, *texts: str) -> set[tuple[str, str]]:
    """In which files something of a text can be found."""
    return {
        (path.name, text)
        for path in folder.rglob("*")
        if path.is_file()
        for text in texts
        for spelling in spellings(text)
        if spelling in path.read_bytes()
    }


def test_the_search_finds_what_is_there(tmp_path: Path):
    for number, spelling in enumerate(spellings(ANNA)):
        (tmp_path / str(number)).write_bytes(b"xx" + spelling + b"yy")
    assert len(left_of(tmp_path, ANNA)) == len(list(spellings(ANNA)))


@pytest.mark.timeout(120)
async def test_after_an_erasure_nothing_of_the_person_is_left_anywhere(tmp_path: Path):
    broker = Restartable(
        tmp_path / "broker", {"echo": {"use": "echo"}}, settings={"audit": {"payloads": "keep"}}
    )
    (broker.policies / "tools" / "people.yaml").write_text(
        "tools:\n  - match: echo__say\n    arguments:\n      customer: {path: text, subject: true}\n"
    )
    with broker:
        at = broker.deployment
        token = at.token(at.add_agent("wide", "everything"))
        for text in (ANNA, f"{ANNA} {SECRET}", "bert@firma-k.hu"):
            assert (await call_tool(at.mcp_url, token, "echo__say", text=text)).status == 200
        calls = [json.loads(line)["call"] for line in at.command("calls", "tail", "--json").splitlines()]
        shown = broker.run("calls", "show", calls[1], "--payload", "--reason", "a complaint").stdout
        assert ANNA in shown
        assert SECRET in shown
        # The server runs, so what is not in the file yet is in its journal. Nothing is there in clear even now.
        assert left_of(broker.folder / ".broker", ANNA, SECRET) == set()
        receipt = json.loads(
            at.command("subject", "erase", ANNA, "--basis", "art. 17(1)(b)", "--yes", "--json")
        )
        assert receipt[0]["payloads"] == 4
        assert broker.run("calls", "show", calls[1], "--payload", "--reason", "to see").returncode == 5
        assert broker.run("calls", "show", calls[2], "--payload", "--reason", "to see").returncode == 0
        assert broker.run("subject", "export", ANNA, "--basis", "art. 15").returncode == 5
        at.command("audit", "export", "--out", str(broker.folder / "export"))
        assert "verified" in at.command("audit", "verify")
        told = json.loads(at.command("subject", "list", "--json"))
    assert [one["identity"] for one in told] == ["bert@firma-k.hu"]
    assert left_of(broker.folder, ANNA, SECRET) == set()


async def test_an_operator_without_the_right_reads_nothing_and_one_with_it_leaves_a_record(tmp_path: Path):
    broker = Restartable(
        tmp_path / "broker", {"echo": {"use": "echo"}}, settings={"audit": {"payloads": "keep"}}
    )
    with broker:
        at = broker.deployment
        token = at.token(at.add_agent("wide", "everything"))
        assert (await call_tool(at.mcp_url, token, "echo__say", text=SECRET)).status == 200
        call = json.loads(at.command("calls", "tail", "--json").splitlines()[-1])["call"]
        holders = {}
        for name, right in (("rita", "read"), ("paul", "payloads")):
            added = at.command("operator", "add", name, "--right", right, "--json")
            holders[name] = json.loads(added)["token"]

        def asked(name: str, reason: str) -> tuple[int, str]:
            request = Request(  # noqa: S310 - a loopback URL of ours
                f"{at.url}/admin/api/calls/{call}/payload",
                data=json.dumps({"reason": reason}).encode(),
                headers={"Authorization": f"Bearer {holders[name]}", "Content-Type": "application/json"},
            )
            try:
                with urlopen(request, timeout=10) as answer:  # noqa: S310
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                return error.code, error.read().decode()

        status, body = asked("rita", "curious")
        assert (status, SECRET in body) == (403, False)
        status, body = asked("paul", "")
        assert (status, SECRET in body) == (400, False)
        status, body = asked("paul", "a complaint")
        assert (status, SECRET in body) == (200, True)
    async with open_store(broker.database, deployment="broker.local", serve=False) as store:
        looked = [
            json.loads(record.body)
            async for record in store.log.records("default")
            if json.loads(record.body)["type"] == "payload.accessed"
        ]
    assert [(one["read"], one["by"], one["reason"]) for one in looked] == [
        (call, "operator:paul", "a complaint")
    ]
