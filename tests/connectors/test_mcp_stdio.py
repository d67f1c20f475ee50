"""What does the connector promise about servers that it runs as processes?"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from broker.connector import ConfigurationError, Method, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from tests.connectors.kit import ASKABLE, Caller, connected, rough, text

NAME = {"elicitation/create": {"action": "accept", "content": {"name": "Ada"}}}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def gone(*pids: int) -> None:
    """Wait until these processes have ended."""
    for pid in pids:
        with suppress(ProcessLookupError), anyio.fail_after(10):
            handle = os.pidfd_open(pid)
            try:
                await anyio.wait_readable(handle)
            finally:
                os.close(handle)


@pytest.mark.parametrize("era", [[], ["modern"], ["crash-on-discover"]])
async def test_a_server_of_either_era_is_called_whatever_it_thinks_of_the_probe(era):
    async with connected(command=rough(*era)) as rig:
        assert "say" in [tool["name"] for tool in (await rig.offer()).tools]
        assert text(await rig.call("say", {"text": "hello"})) == "hello"
        assert text(await rig.call("say", {"text": "old"}, Caller(modern=False))) == "old"


async def test_a_broken_definition_is_left_out_alone(caplog):
    async with connected(command=rough()) as rig:
        offer = await rig.offer()
    assert [tool["name"] for tool in offer.tools][:2] == ["say", "die"]
    assert "tool 'broken' is quarantined" in caplog.text
    assert "tool 'far' is quarantined: its inputSchema refers to something outside itself" in caplog.text


async def test_definitions_and_results_arrive_as_they_were_sent():
    async with connected(command=rough()) as rig:
        (say, *_) = (await rig.offer()).tools
        body = await rig.call("odd")
    assert list(say) == ["name", "inputSchema", "x-vendor", "annotations"]
    assert (list(say["x-vendor"]), say["annotations"]) == (["b", "a"], {"x-hint": True})
    assert list(body)[:4] == ["zz", "content", "aa", "structuredContent"]
    assert body["content"][0]["x-vendor"] == {"zeta": 1, "alpha": [None, 1.50]}


async def test_a_result_of_three_megabytes_arrives_whole():
    async with connected(command=rough()) as rig:
        assert text(await rig.call("big", {"bytes": 3 << 20})) == "x" * (3 << 20)


async def test_a_message_above_the_limit_ends_the_server_and_loses_the_call():
    async with connected(command=rough()) as rig:
        with pytest.raises(UpstreamLost):
            await rig.call("big", {"bytes": 33 << 20})
        assert text(await rig.call("say", {"text": "again"})) == "again"


async def test_a_server_that_dies_mid_call_loses_that_call_and_serves_the_next():
    async with connected(command=rough()) as rig:
        before = await rig.call("say")
        with pytest.raises(UpstreamLost):
            await rig.call("die")
        after = await rig.call("say")
    assert before["pid"] != after["pid"]


async def test_a_server_that_dies_is_asked_again_what_it_offers():
    async with connected(command=rough()) as rig:
        await rig.offer()
        with pytest.raises(UpstreamLost):
            await rig.call("die")
        await rig.told_of("changed")


async def test_leaving_a_call_tells_the_server_that_it_is_cancelled():
    async with connected(command=rough()) as rig:
        await rig.offer()
        with anyio.move_on_after(10) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rig.call, "hang")
                await rig.told_of("changed")
                tasks.cancel_scope.cancel()
        assert not scope.cancelled_caught
        await rig.told_of("cancelled:True")


async def test_a_server_sees_a_clean_environment_and_its_own_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("BROKER_PRIVATE", "not for servers")
    monkeypatch.setenv("LC_TIME", "C")
    env = {"TOKEN": "env:UPSTREAM_TOKEN", "BOTH": "user:${env:UPSTREAM_TOKEN}", "PLAIN": "yes"}
    async with connected({"env:UPSTREAM_TOKEN": "s3"}, command=rough(), env=env, cwd=tmp_path) as rig:
        body = await rig.call("environment")
    seen = json.loads(text(body))
    own = {"TOKEN": "s3", "BOTH": "user:s3", "PLAIN": "yes"}
    assert {key: seen.pop(key) for key in own} == own
    assert set(seen) <= {"PATH", "HOME", "LANG", "TMPDIR"} | {key for key in seen if key.startswith("LC_")}
    assert body["cwd"] == str(tmp_path)


async def test_a_secret_that_the_server_echoes_does_not_reach_the_caller():
    secrets = {"env:T": "a-long-secret-value"}
    async with connected(secrets, command=rough(), env={"TOKEN": "env:T"}) as rig:
        body = await rig.call("environment")
    assert "a-long-secret-value" not in json.dumps(body)
    assert json.loads(text(body))["TOKEN"] == "[secret]"


async def test_error_output_is_drained_however_much_it_is():
    async with connected(command=rough()) as rig:
        assert (await rig.call("noisy"))["content"] == []
        assert text(await rig.call("say", {"text": "still here"})) == "still here"


async def test_closing_ends_a_server_that_does_not_want_to_and_all_it_started():
    async with connected(command=rough("deaf")) as rig:
        pids = (await rig.call("fork"))["pids"]
        assert all(is_alive(pid) for pid in pids)
    await gone(*pids)


async def test_an_unused_process_is_ended():
    async with connected(command=rough(), idle_s=0.2, isolation="agent") as rig:
        home = (await rig.offer()).tools
        pid = (await rig.call("say"))["pid"]
        await gone(pid)
        assert home
        assert (await rig.call("say"))["pid"] != pid


async def test_isolation_decides_who_shares_a_process():
    async def pids(isolation: str) -> list[int]:
        async with connected(command=rough(), isolation=isolation) as rig:
            people = [("acme", "ada"), ("acme", "bob"), ("other", "ada")]
            return [(await rig.call("say", organisation=o, agent=a))["pid"] for o, a in people]

    assert len(set(await pids("shared"))) == 1
    a, b, c = await pids("organisation")
    assert a == b != c
    assert len(set(await pids("agent"))) == 3


async def test_callers_who_declared_different_capabilities_do_not_share_a_session():
    async with connected(command=rough()) as rig:
        plain = await rig.call("say", caller=Caller(modern=False))
        able = await rig.call("say", caller=Caller(modern=False, capabilities=ASKABLE))
        modern = await rig.call("say", caller=Caller(modern=True, capabilities=ASKABLE))
    assert able["pid"] != plain["pid"] == modern["pid"]


async def test_a_question_reaches_the_only_caller_it_can_be_for():
    caller = Caller(modern=False, capabilities=ASKABLE, answers=NAME)
    async with connected(command=rough()) as rig:
        body = await rig.call("ask", {"method": "elicitation/create"}, caller)
    assert caller.asked == [("elicitation/create", {"message": "who?"})]
    assert body["answer"]["result"] == NAME["elicitation/create"]


async def test_a_question_with_two_callers_on_the_pipe_reaches_neither():
    first = Caller(modern=False, capabilities=ASKABLE, answers=NAME)
    second = Caller(modern=False, capabilities=ASKABLE, answers=NAME)
    async with connected(command=rough()) as rig:
        await rig.offer()
        await rig.call("say", caller=first)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.call, "hang", None, first)
            await rig.told_of("changed")
            body = await rig.call("ask", {"method": "elicitation/create"}, second)
            tasks.cancel_scope.cancel()
    assert (first.asked, second.asked) == ([], [])
    assert "no one caller" in body["answer"]["error"]["message"]


async def test_a_caller_that_cannot_be_asked_is_reported_to_the_server():
    async with connected(command=rough()) as rig:
        body = await rig.call("ask", {"method": "roots/list"}, Caller(modern=False))
        ping = await rig.call("ask", {"method": "ping"})
        odd = await rig.call("ask", {"method": "tools/call"})
    assert body["answer"]["error"]["code"] == -32601
    assert ping["answer"]["result"] == {}
    assert odd["answer"]["error"]["code"] == -32601


async def test_progress_goes_to_the_caller_that_wants_it_and_without_the_token():
    wants, wants_not = Caller(modern=False), Caller(modern=False)
    async with connected(command=rough()) as rig:
        body = await rig.call("log", caller=wants, wants_progress=True)
        assert isinstance(body["_echo"]["meta"]["progressToken"], int)
        await rig.call("log", caller=wants_not)
        await rig.call("log", {"token": 999_999}, wants_not, wants_progress=True)
    log = ("notifications/message", {"level": "info", "data": "said"})
    assert wants.heard == [("notifications/progress", {"progress": 1}), log]
    assert wants_not.heard == [log, log]


@pytest.mark.parametrize(("level", "heard"), [(None, 0), ("warning", 0), ("info", 1), ("debug", 1)])
async def test_a_modern_caller_hears_the_log_levels_it_asked_for(level, heard):
    caller = Caller()
    async with connected(command=rough("modern")) as rig:
        body = await rig.call("log", caller=caller, log_level=level)
    assert len(caller.heard) == heard
    assert body["_echo"]["meta"].get("io.modelcontextprotocol/logLevel") == level


async def test_trace_context_is_passed_on_and_the_callers_capabilities_are_declared():
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with connected(command=rough("modern")) as rig:
        meta = (await rig.call("say", caller=Caller(capabilities=ASKABLE), trace=trace))["_echo"]["meta"]
    assert meta["traceparent"] == trace["traceparent"]
    assert meta["io.modelcontextprotocol/clientCapabilities"] == ASKABLE
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


async def test_a_watched_resource_is_told_about():
    async with connected(command=rough()) as rig:
        assert (await rig.offer()).watches
        await rig.upstream.watch("note:1")
        await rig.told_of("note:1")
        await rig.upstream.unwatch("note:1")


async def test_a_protocol_error_is_relayed_with_its_code():
    async with connected(command=rough()) as rig:
        with pytest.raises(UpstreamRefused) as refused:
            await rig.ask(Method.GET_PROMPT, {"name": "none"})
    assert (refused.value.rpc_code, refused.value.message) == (-32601, "no such method")


async def test_a_program_that_ends_at_once_is_unreachable_and_not_started_in_a_loop():
    command = [sys.executable, "-c", "import sys; sys.exit('no licence')"]
    async with connected(command=command) as rig:
        with pytest.raises(UpstreamUnreachable):
            await rig.call("say")
        with pytest.raises(UpstreamUnreachable, match="a moment ago"):
            await rig.call("say")


async def test_a_program_that_does_not_exist_is_a_mistake_of_the_operator():
    with pytest.raises(ConfigurationError, match="there is no program `no-such-program`"):
        async with connected(command=["no-such-program"]):
            pass


async def test_servers_die_with_a_broker_that_is_killed(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "import anyio\n"
        "from tests.connectors.kit import connected, rough\n"
        "async def main():\n"
        "    async with connected(command=rough('deaf')) as rig:\n"
        "        print((await rig.call('say'))['pid'], flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as broker:
        server = int(broker.stdout.readline())
        assert is_alive(server)
        broker.send_signal(signal.SIGKILL)
    await gone(server)
