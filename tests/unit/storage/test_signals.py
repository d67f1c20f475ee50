import anyio

from broker.storage.signals import BACKLOG, LocalSignals


async def test_a_listener_hears_its_topics_and_no_others():
    signals = LocalSignals()
    async with signals.subscribe("a", "b") as heard:
        await signals.publish("a", {"n": 1})
        await signals.publish("c", {"n": 2})
        await signals.publish("b", {"n": 3})
        with anyio.fail_after(5):
            assert [await anext(heard), await anext(heard)] == [("a", {"n": 1}), ("b", {"n": 3})]


async def test_a_waiting_listener_wakes_up():
    signals = LocalSignals()
    heard: list[int] = []

    async def listen(started: anyio.Event) -> None:
        async with signals.subscribe("a") as messages:
            started.set()
            async for _, message in messages:
                heard.append(message["n"])
                if len(heard) == 2:
                    return

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            started = anyio.Event()
            tasks.start_soon(listen, started)
            await started.wait()
            await signals.publish("a", {"n": 1})
            await anyio.lowlevel.checkpoint()
            await signals.publish("a", {"n": 2})
    assert heard == [1, 2]


async def test_every_listener_hears_everything():
    signals = LocalSignals()
    async with signals.subscribe("a") as one, signals.subscribe("a") as two:
        await signals.publish("a", {})
        with anyio.fail_after(5):
            assert await anext(one) == await anext(two) == ("a", {})


async def test_who_falls_behind_loses_the_oldest_and_nobody_waits():
    signals = LocalSignals()
    async with signals.subscribe("a") as heard:
        for n in range(BACKLOG + 5):
            await signals.publish("a", {"n": n})
        assert (await anext(heard))[1] == {"n": 5}


async def test_what_was_said_before_is_not_heard():
    signals = LocalSignals()
    await signals.publish("a", {"n": 1})
    async with signals.subscribe("a") as heard:
        await signals.publish("a", {"n": 2})
        assert (await anext(heard))[1] == {"n": 2}
