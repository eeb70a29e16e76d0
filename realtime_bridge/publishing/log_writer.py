"""Writer to a log outside this process: time limit, retries, and a new epoch after a rollback."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from realtime_bridge.backend.calls import backend_call, timed_out
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing.published_positions import (
    PublishedPositions,
    rolled_back_channels,
)
from realtime_bridge.publishing.timing import PublishTiming

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

    async def append(self, batch: Sequence[Event]) -> list[Receipt]:
        """Append events, and again after a failure that may pass.

        Raises:
            PublishError: the log did not accept the events in time.

        """
        failure, timing = None, self._timing
        try:
            async with asyncio.timeout(timing.call_seconds):
                for failures in range(1, timing.retries + 2):
                    try:
                        return await backend_call(self._log, self._append_once, batch)
                    except PublishError as error:
                        if not error.retryable or failures > timing.retries:
                            raise
                        failure = error
                    _logger.info("append failed attempt=%d error=%r", failures, str(failure))
                    await asyncio.sleep(timing.retry_delay(failures))
        except TimeoutError as error:
            # The last failure explains more than the fact that time ran out.
            raise failure or timed_out(self._log, timing.call_seconds) from error
        raise AssertionError("unreachable")

    async def _append_once(self, batch: Sequence[Event]) -> list[Receipt]:
        """Append, and append again in a new epoch where the log was rolled back."""
        # Read before the append: a concurrent one may record a later position meanwhile.
        before = self._positions.of(batch)
        receipts = await self._log.append(batch)
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
