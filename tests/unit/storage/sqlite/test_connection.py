import stat
import subprocess
import sys
from pathlib import Path

import anyio
import apsw
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from broker.errors import ConfigurationError
from broker.storage.sqlite import open_store
from broker.storage.sqlite.connection import connect_reader, connect_writer, prepare


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def pragmas(connection: object, *names: str) -> dict[str, object]:
    return {name: connection.execute(f"pragma {name}").get for name in names}


async def test_the_state_is_readable_by_its_owner_alone(tmp_path: Path):
    path = tmp_path / "state" / "broker.db"
    async with open_store(path, deployment="broker.test", serve=True):
        assert mode(path.parent) == 0o700
        assert {mode(found) for found in path.parent.iterdir()} == {0o600}
        assert {found.name for found in path.parent.iterdir()} == {
            "broker.db",
            "broker.db-wal",
            "broker.db-shm",
            "broker.db.lock",
            "keys.db",
            "keys.db-wal",
            "keys.db-shm",
            "payload.key",
        }


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path):
    path = tmp_path / "broker.db"
    prepare(path)
    path.chmod(0o644)
    prepare(path)
    assert mode(path) == 0o600


def test_the_writer_commits_durably(tmp_path: Path):
    path = tmp_path / "broker.db"
    prepare(path)
    full = 2
    assert pragmas(
        connect_writer(path),
        "journal_mode",
        "synchronous",
        "fullfsync",
        "checkpoint_fullfsync",
        "busy_timeout",
        "mmap_size",
    ) == {
        "journal_mode": "wal",
        "synchronous": full,
        "fullfsync": 1,
        "checkpoint_fullfsync": 1,
        "busy_timeout": 5000,
        "mmap_size": 0,
    }


def test_a_reader_cannot_write(tmp_path: Path):
    path = tmp_path / "broker.db"
    prepare(path)
    with pytest.raises(apsw.ReadOnlyError):
        connect_reader(path).execute("insert into budget values ('agent:a', 1, 0)")


def test_tables_are_strict(tmp_path: Path):
    path = tmp_path / "broker.db"
    prepare(path)
    tables = connect_reader(path).execute(
        "select name, strict from pragma_table_list where name not like 'sqlite_%'"
    )
    assert {strict for _, strict in tables.fetchall()} == {1}


def test_a_migrated_file_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "broker.db"
    prepare(path)
    connect_writer(path).execute("insert into budget values ('agent:a', 1, 0)")
    prepare(path)
    assert connect_reader(path).execute("select spent from budget").get == 1


def test_the_state_of_a_newer_broker_is_refused(tmp_path: Path):
    path = tmp_path / "broker.db"
    prepare(path)
    connect_writer(path).execute("pragma user_version=99")
    with pytest.raises(ConfigurationError, match=r"broker\.db: was written by a newer broker \(format 99"):
        prepare(path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "broker.db"
    path.write_bytes(b"dear diary, " * 100)
    with pytest.raises(ConfigurationError, match="is not the state of a broker"):
        prepare(path)
    assert path.read_bytes() == b"dear diary, " * 100


def test_the_database_of_something_else_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "broker.db"
    other = apsw.Connection(str(path))
    other.execute("create table diary (entry text); pragma user_version=1")
    with pytest.raises(ConfigurationError, match="the database of something else"):
        prepare(path)
    assert [name for (name,) in other.execute("select name from sqlite_schema")] == ["diary"]
    assert other.execute("pragma journal_mode").get == "delete"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"taken/broker\.db: cannot be opened") as refusal:
        prepare(tmp_path / "taken" / "broker.db")
    assert refusal.value.hint == "give the broker a `state_dir` of its own"


async def test_a_second_server_on_the_same_state_is_told_who_has_it(tmp_path: Path):
    path = tmp_path / "broker.db"
    holder = (
        "import anyio, pathlib, sys\n"
        "from broker.storage.sqlite import open_store\n"
        "async def main():\n"
        "    async with open_store(pathlib.Path(sys.argv[1]), deployment='broker.test', serve=True):\n"
        "        print('serving', flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    with anyio.fail_after(30):
        async with await anyio.open_process(
            [sys.executable, "-c", holder, str(path)], stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdout is not None
            assert await BufferedByteReceiveStream(child.stdout).receive_until(b"\n", 100) == b"serving"
            with pytest.raises(
                ConfigurationError, match=f"already served by process {child.pid}$"
            ) as refusal:
                async with open_store(path, deployment="broker.test", serve=True):
                    pass
            assert refusal.value.hint is not None
            async with open_store(path, deployment="broker.test", serve=False) as store:
                assert await store.log.logs() == []
            child.kill()
            await child.wait()
        async with open_store(path, deployment="broker.test", serve=True) as store:
            assert await store.log.logs() == []


async def test_processes_that_create_the_state_together_take_turns(tmp_path: Path):
    path = tmp_path / "broker.db"
    opener = (
        "import anyio, pathlib, sys\n"
        "from broker.audit.interface import Entry, Event\n"
        "from broker.storage.sqlite import open_store\n"
        "async def main():\n"
        "    async with open_store(pathlib.Path(sys.argv[1]), deployment='broker.test', serve=False) as store:\n"
        "        await store.journal.append(Entry('acme', Event.CALL_DENIED, {}))\n"
        "anyio.run(main)\n"
    )
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(anyio.run_process, [sys.executable, "-c", opener, str(path)])
    async with open_store(path, deployment="broker.test", serve=True) as store:
        (head,) = await store.log.logs()
        assert head.size == 5
