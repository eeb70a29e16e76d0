"""Pause of a report, which code in any thread can end."""

import asyncio
from contextlib import suppress


class Pause:
    """Pauses of one report, in the event loop that creates this."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until `end` is called; it may have been called before."""
        await asyncio.sleep(0)  # a report without a pause lets others run, too
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
        self._ended.clear()

    def end(self) -> None:
        """End the present pause, or else the next one; for any thread."""
        with suppress(RuntimeError):  # the loop is closed: nothing waits there
            self._loop.call_soon_threadsafe(self._ended.set)
