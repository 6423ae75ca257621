import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from emulator.control.feed import Feed

SECONDS = 10.0


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def within() -> None:
            async with asyncio.timeout(SECONDS):
                await test()

        asyncio.run(within())

    run.__name__ = test.__name__  # type: ignore[attr-defined]
    return run


async def _read(feed: Feed, seen: list[Any], idle: float = SECONDS) -> None:
    async for event in feed.read(idle):
        seen.append(event)  # noqa: PERF401 - one by one, as they come


async def _reader(feed: Feed, idle: float = SECONDS) -> tuple[list[Any], asyncio.Task[None]]:
    seen: list[Any] = []
    task = asyncio.create_task(_read(feed, seen, idle))
    await asyncio.sleep(0)
    return seen, task


@on_loop
async def test_every_reader_gets_every_event_in_order_until_the_end() -> None:
    feed = Feed()
    readers = [await _reader(feed) for _ in range(2)]
    for number in range(3):
        feed.publish({"event": number})
    feed.close()
    for seen, task in readers:
        await task
        assert [event["event"] for event in seen] == [0, 1, 2]


@on_loop
async def test_a_reader_that_is_too_slow_loses_the_oldest_and_is_told_how_many() -> None:
    feed = Feed(length=3)
    seen, task = await _reader(feed)
    for number in range(10):
        feed.publish({"event": number})
    await asyncio.sleep(0.01)
    assert [event["event"] for event in seen] == ["lost", 7, 8, 9]
    assert seen[0]["number"] == 7
    feed.publish({"event": 10})
    feed.close()
    await task
    assert [event["event"] for event in seen[4:]] == [10]


@on_loop
async def test_a_reader_hears_that_there_is_nothing_new() -> None:
    feed = Feed()
    seen, task = await _reader(feed, idle=0.01)
    await asyncio.sleep(0.05)
    feed.close()
    await task
    assert seen
    assert set(seen) == {None}


@on_loop
async def test_one_who_comes_after_the_end_hears_so() -> None:
    feed = Feed()
    feed.close()
    _, task = await _reader(feed)
    await task


@on_loop
async def test_nothing_is_kept_for_one_who_has_gone() -> None:
    feed = Feed()
    _, task = await _reader(feed)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not feed._readers
