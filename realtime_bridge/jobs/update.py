"""Event of one state of a job: its data, and its change of the job's key."""

from typing import Any

from msgspec import Struct

from realtime_bridge.jobs.values import SHORT_TEXT_BYTES, to_text
from realtime_bridge.model.event import Event

END_STATES = frozenset({"completed", "failed", "cancelled"})
"""States after which only a new run changes a job."""


class JobUpdate(Struct, frozen=True, kw_only=True):
    """Absolute state of a job, the name of its event, and the fields of its key's change."""

    event: str
    data: dict[str, Any]
    write: dict[str, Any] = {}

    @property
    def begins_lease(self) -> bool:
        """True if the run has a lease from now on, or looks for an answer at each renewal."""
        return bool(self.write.get("lease")) or self.event == "job.asking"

    @property
    def ends_lease(self) -> bool:
        """True if the run has no lease from now on."""
        return self.write.get("fold") == "end" or self.write.get("lease") == 0

    def reduced(self) -> "JobUpdate":
        """Return the update with short texts, and without those that its meaning does not need."""
        short = {name: to_text(self.data[name], SHORT_TEXT_BYTES) for name in ("title", "error")}
        dropped = dict.fromkeys(("stage", "message", "result"))
        return JobUpdate(event=self.event, data={**self.data, **short, **dropped}, write=self.write)

    def taking_absent(self, lease: dict[str, Any]) -> "JobUpdate":
        """Return the update of an owner that the log has lost, and so has to take the key again.

        Args:
            lease: lease and will of the owner.

        """
        write = {name: self.write[name] for name in ("fold", "attempt") if name in self.write}
        taken = write | {"take": "absent"} | ({} if self.ends_lease else lease)
        return JobUpdate(event=self.event, data=self.data, write=taken)

    def to_event(self, channel: str, key: str, nonce: str) -> Event:
        """Return the event; attempts to publish one update share its id, so the log stores one."""
        update_id = f"{nonce}-{self.data['version']}"
        return Event(
            channel=channel, event=self.event, data=self.data, id=update_id, key=key, **self.write
        )


def job_key(job: str) -> str:
    """Return the key of a job's events."""
    return f"job-{job}"
