"""Lease by which one server of several delivers to the outlets."""

from collections.abc import Sequence

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model import ids
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import Fold, KeyWrite, Take, Will
from realtime_bridge.model.receipt import Lease

CHANNEL = f"{CONTROL}.outlets"
KEY = "deliverer"


class DelivererLease:
    """Lease in the log: a key with an owner, which the log ends after a silence.

    Args:
        log: the log.
        seconds: the silence after which another server may deliver.

    """

    def __init__(self, log: FoldingLog, seconds: int) -> None:
        self._log = log
        self._seconds = seconds
        self._attempt = ids.nonce()

    async def acquire(self) -> bool:
        """Become the deliverer, unless another server is.

        Two servers that see a free lease both take it: the first loses it to the second, and sees
        that with its next renewal. Until then both deliver, and receivers get events twice.

        Raises:
            PublishError: the log is unavailable.

        """
        page = await backend_call(self._log, self._log.latest, CHANNEL, key=KEY)
        if is_held(page.events):
            return False
        will = Will("outlets.lost", b"null")
        return await self._append("outlets.taken", take="always", lease=self._seconds, will=will)

    async def renew(self) -> bool:
        """Restart the lease; return False if it is another server's now.

        Raises:
            PublishError: the log is unavailable.

        """
        lease = Lease(CHANNEL, KEY, self._attempt)
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
        event = Event.internal(CHANNEL, name, b"null", key=KEY, write=write)
        (receipt,) = await backend_call(self._log, self._log.append, [event])
        return receipt.refused is None


def is_held(events: Sequence[Event]) -> bool:
    """Return whether the state of the lease's key shows a server that delivers."""
    return bool(events) and not any(event.fold in ("end", "lapse") for event in events)
