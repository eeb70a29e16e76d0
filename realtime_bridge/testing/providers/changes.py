"""Condition waits of the tests that use a local provider."""

import asyncio
from collections.abc import Callable


class Changes:
    """Waiters for conditions on a provider's state."""

    def __init__(self) -> None:
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true."""
        if not condition():
            reached = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, reached))
            await reached

    def notify(self) -> None:
        """Evaluate the waiters' conditions after a change of the state."""
        # Evaluated here and not in the waiter's task: a state that lasts for less than
        # one turn of the loop counts too.
        pending = []
        for condition, reached in self._waiters:
            if reached.done():  # the waiter was cancelled
                continue
            if condition():
                reached.set_result(None)
            else:
                pending.append((condition, reached))
        self._waiters = pending
