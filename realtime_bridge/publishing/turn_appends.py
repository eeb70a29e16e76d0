"""Appends of one turn of the event loop, in one call of the log."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from realtime_bridge.backend.log import Result
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import PublishError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing.chunks import grouped

_Waiting = tuple[Sequence[Event], "asyncio.Future[list[Receipt]]"]


class TurnAppends:
    """Batches that are appended together at the end of a turn; each has its own result.

    Args:
        append: appends batches in order, and returns the result of each.
        supervisor: owner of the tasks that wait for the log.

    """

    def __init__(
        self,
        append: Callable[[Sequence[Sequence[Event]]], Awaitable[Sequence[Result]]],
        supervisor: Supervisor,
    ) -> None:
        self._append = append
        self._supervisor = supervisor
        self._waiting: list[_Waiting] = []
        self._unfinished = 0
        """Number of calls without an answer."""

    @property
    def is_busy(self) -> bool:
        """True while a batch waits for its call, or for the answer."""
        return bool(self._waiting or self._unfinished)

    def add(self, batch: Sequence[Event]) -> "asyncio.Future[list[Receipt]]":
        """Append a batch at the end of this turn; its cancelled future cancels no append.

        Raises:
            PublishError: by the future; the batch was not appended, or that is unknown.

        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._begin)
        receipts: asyncio.Future[list[Receipt]] = loop.create_future()
        self._waiting.append((batch, receipts))
        return receipts

    def _begin(self) -> None:
        """Begin a call for each group; tasks begin in order, so that channels keep theirs."""
        waiting, self._waiting = self._waiting, []
        start = 0
        for group in grouped([batch for batch, _ in waiting]):
            futures = [receipts for _, receipts in waiting[start : start + len(group)]]
            self._unfinished += 1
            self._supervisor.spawn("appends of a turn", self._finish(group, futures))
            start += len(group)

    async def _finish(
        self, group: Sequence[Sequence[Event]], futures: "Sequence[asyncio.Future[list[Receipt]]]"
    ) -> None:
        failure: RealtimeError = PublishError(
            "The log gave no result of the append: publish again with the same id"
        )
        try:
            results = await self._append(group)
            for receipts, result in zip(futures, results, strict=True):
                _resolve(receipts, result)
        except RealtimeError as error:
            failure = error
        finally:
            self._unfinished -= 1
            # Whatever ended the call, such as the end of the process: no publish waits without end.
            for receipts in futures:
                _resolve(receipts, failure)


def _resolve(receipts: "asyncio.Future[list[Receipt]]", result: Result) -> None:
    if receipts.done():  # the publish was cancelled, or has its result
        return
    if isinstance(result, RealtimeError):
        receipts.set_exception(result)
        receipts.exception()  # mark it as retrieved: the publish may be cancelled meanwhile
    else:
        receipts.set_result(result)
