"""Services: the order of start and stop, and what becomes of a failure."""

import asyncio

import pytest

from cilia.runtime.services import serve


class Part:
    def __init__(self, name: str, story: list[str], fails: bool = False) -> None:
        self.name = name
        self._story = story
        self._fails = fails

    async def run(self, ready: asyncio.Event) -> None:
        self._story.append(f"+{self.name}")
        ready.set()
        try:
            if self._fails:
                raise RuntimeError("broken")
            await asyncio.Event().wait()
        finally:
            self._story.append(f"-{self.name}")


def test_layers_stop_in_the_opposite_order() -> None:
    story: list[str] = []

    async def scene() -> None:
        task = asyncio.ensure_future(
            serve((Part("a", story),), (Part("b", story),), (Part("c", story),))
        )
        while "+c" not in story:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert story == ["+a", "+b", "+c", "-c", "-b", "-a"]


def test_a_failure_stops_all_and_comes_out() -> None:
    story: list[str] = []
    with pytest.raises(ExceptionGroup):
        asyncio.run(serve((Part("a", story),), (Part("b", story, fails=True),)))
    assert story == ["+a", "+b", "-b", "-a"]
