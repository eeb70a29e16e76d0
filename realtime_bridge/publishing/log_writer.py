"""Writer to a log outside this process: time limit, retries, and a new epoch after a rollback."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import chain, islice

from msgspec.structs import replace

from realtime_bridge.backend.calls import backend_call, timed_out
from realtime_bridge.backend.log import JoiningLog, Log, Result
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import PublishError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing.published_positions import (
    PublishedPositions,
    rolled_back_channels,
)
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge.publishing.turn_appends import TurnAppends

_logger = logging.getLogger("realtime_bridge.publishing")


class LogWriter:
    """Writer to a log outside this process.

    Args:
        log: the log.
        timing: limits of one publish.

    """

    def __init__(self, log: Log, timing: PublishTiming) -> None:
        self._log = log
        self._timing = timing
        self._positions = PublishedPositions()
        self._supervisor = Supervisor()
        self._in_flight = 0
        """Number of appends alone without an answer."""
        joins = isinstance(log, JoiningLog)
        self._turn = TurnAppends(self._append_together, self._supervisor) if joins else None

    async def append(self, batch: Sequence[Event]) -> list[Receipt]:
        """Append events, and again after a failure that may pass.

        While the log has not answered another append, those of one turn of the event loop are
        appended together, where the log can.

        Raises:
            PublishError: the log did not accept the events in time.

        """
        failure, failures = None, 0
        until = asyncio.get_running_loop().time() + self._timing.call_seconds
        # An append that is alone begins at once. Another one never overtakes those that wait.
        if self._turn and (self._in_flight or self._turn.is_busy):
            try:
                return await self._turn.add(batch)
            except PublishError as error:
                if not error.retryable:
                    raise
                failure, failures = error, 1
        self._in_flight += 1
        try:
            return await self._append_until(until, batch, failure, failures)
        finally:
            self._in_flight -= 1

    async def close(self) -> None:
        """End the appends whose publishes were cancelled."""
        await self._supervisor.close()

    async def _append_until(
        self, until: float, batch: Sequence[Event], failure: PublishError | None, failures: int
    ) -> list[Receipt]:
        """Append until a time, after so many failures, the last of which is given."""
        timing = self._timing
        try:
            async with asyncio.timeout_at(until):
                while True:
                    if failure:
                        _logger.debug("append failed attempt=%d error=%r", failures, str(failure))
                        await asyncio.sleep(timing.retry_delay(failures))
                    try:
                        return await backend_call(self._log, self._append_once, batch)
                    except PublishError as error:
                        failures += 1
                        if not error.retryable or failures > timing.retries:
                            raise
                        failure = error
        except TimeoutError as error:
            # The last failure explains more than the fact that time ran out.
            raise failure or timed_out(self._log, timing.call_seconds) from error

    async def _append_together(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        """Append batches in one call, within the time of a publish."""
        try:
            async with asyncio.timeout(self._timing.call_seconds):
                return await backend_call(self._log, self._append_joined, batches)
        except TimeoutError as error:
            raise timed_out(self._log, self._timing.call_seconds) from error

    async def _append_joined(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        """Append batches, and append again in a new epoch where the log was rolled back."""
        assert isinstance(self._log, JoiningLog)
        if len(batches) == 1:
            return [await self._append_once(batches[0])]
        before = self._positions.of(chain.from_iterable(batches))
        results = await self._log.append_joined(batches)
        accepted = [
            (batch, result)
            for batch, result in zip(batches, results, strict=True)
            if not isinstance(result, RealtimeError)
        ]
        events = [event for batch, _ in accepted for event in batch]
        receipts = await self._confirm(before, events, [r for _, batch in accepted for r in batch])
        confirmed = iter(receipts)
        return [
            result if isinstance(result, RealtimeError) else list(islice(confirmed, len(batch)))
            for batch, result in zip(batches, results, strict=True)
        ]

    async def _append_once(self, batch: Sequence[Event]) -> list[Receipt]:
        """Append, and append again in a new epoch where the log was rolled back."""
        # Read before the append: a concurrent one may record a later position meanwhile.
        before = self._positions.of(batch)
        return await self._confirm(before, batch, await self._log.append(batch))

    async def _confirm(
        self, before: Mapping[str, Position], batch: Sequence[Event], receipts: list[Receipt]
    ) -> list[Receipt]:
        """Record the positions of an append; where the log was rolled back, append again."""
        rolled_back = rolled_back_channels(before, batch, receipts)
        if rolled_back:
            _logger.warning("log rolled back channels=%s", ",".join(rolled_back))
            receipts = await self._append_in_new_epochs(batch, receipts, rolled_back)
        self._positions.record(batch, receipts)
        return receipts

    async def _append_in_new_epochs(
        self, batch: Sequence[Event], receipts: Sequence[Receipt], epochs: Mapping[str, str]
    ) -> list[Receipt]:
        """Begin new epochs, and append again what they do not have; return all receipts."""
        tops = {name: await self._log.rotate_epoch(name, epoch) for name, epoch in epochs.items()}
        # The first append gave positions that clients may have seen with other events.
        repeated = [event for event in batch if event.channel in tops and not event.write]
        repeated_receipts = iter(await self._log.append(repeated) if repeated else ())
        return [
            receipt
            if event.channel not in tops
            else _moved(receipt, tops[event.channel])
            if event.write
            else next(repeated_receipts)
            for event, receipt in zip(batch, receipts, strict=True)
        ]


def _moved(receipt: Receipt, top: Position) -> Receipt:
    """Return the receipt of a change to a key with an owner, which a new epoch begins with.

    The epoch has the change already: a second one would add the items of a part again.
    """
    return receipt if receipt.refused else replace(receipt, position=top)
