"""Lease by which one server of several delivers to the outlets."""

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model import ids
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import Fold, KeyWrite, Take, Will
from realtime_bridge.model.receipt import Lease

CHANNEL = f"{CONTROL}.outlets"
"""Channel of the lease for the outlets of the application."""

START = "deliverer-"
"""Start of the keys, each with the number of its term."""


class DelivererLease:
    """Lease in the log: a key with an owner for each term, which the log ends after a silence.

    A key that exists cannot be taken, so of several servers that begin a term one succeeds.

    Args:
        log: the log.
        seconds: the silence after which another server may deliver.
        channel: the channel of the lease.

    """

    def __init__(self, log: FoldingLog, seconds: int, channel: str = CHANNEL) -> None:
        self._log = log
        self._channel = channel
        self._seconds = seconds
        self._attempt = ids.nonce()
        self._key = ""

    async def acquire(self) -> bool:
        """Become the deliverer of the next term, unless the last one goes on.

        Raises:
            PublishError: the log is unavailable.

        """
        term, is_held = await self._last_term()
        if is_held:
            return False
        self._key = f"{START}{term + 1}"
        will = Will("outlets.lost", b"null")
        return await self._append("outlets.taken", take="absent", lease=self._seconds, will=will)

    async def renew(self) -> bool:
        """Restart the lease; return False if the log has ended it.

        Raises:
            PublishError: the log is unavailable.

        """
        lease = Lease(self._channel, self._key, self._attempt)
        (renewal,) = await backend_call(self._log, self._log.renew, [lease])
        return renewal.refused is None

    async def release(self) -> None:
        """End the lease, so that another server delivers at once.

        Raises:
            PublishError: the log is unavailable.

        """
        await self._append("outlets.released", fold="end")

    async def _append(
        self,
        name: str,
        *,
        fold: Fold | None = None,
        take: Take | None = None,
        lease: int | None = None,
        will: Will | None = None,
    ) -> bool:
        write = KeyWrite(fold, self._attempt, take, lease, will)
        event = Event.internal(self._channel, name, b"null", key=self._key, write=write)
        (receipt,) = await backend_call(self._log, self._log.append, [event])
        return receipt.refused is None

    async def _last_term(self) -> tuple[int, bool]:
        """Return the number of the last term, and whether its server delivers."""
        terms: dict[int, bool] = {0: False}
        after, more = 0, True
        while more:
            page = await backend_call(self._log, self._log.latest, self._channel, after=after)
            for event in page.events:
                # The end of a term comes after its start.
                terms[int(str(event.key).removeprefix(START))] = event.fold is None
                after = event.position.offset if event.position else after
            more = page.more
        last = max(terms)
        return last, terms[last]
