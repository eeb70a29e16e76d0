"""Liveness, readiness and a summary of this server."""

from collections.abc import Callable, Sequence

from realtime_bridge.model.channel import is_internal
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.registry import ConnectionRegistry


class Health:
    """Health of one run of the server.

    Args:
        pipeline: the log.
        status: the status of this run.
        hub: the open channels.
        registry: the connected clients.
        failing: returns the names of background work that does not run now.

    """

    def __init__(
        self,
        pipeline: ServerPipeline,
        status: ServerStatus,
        hub: Hub,
        registry: ConnectionRegistry,
        failing: Callable[[], Sequence[str]],
    ) -> None:
        self._pipeline = pipeline
        self._status = status
        self._hub = hub
        self._registry = registry
        self._failing = failing

    async def live(self) -> Response:
        """Answer `GET health/live` with 200: the process works and needs no restart."""
        return Response.json({"status": "ok"})

    async def ready(self) -> Response:
        """Answer `GET health/ready`: 200 while this server can serve clients, else 503."""
        state = self._state()
        return Response.json({"status": state}, status=200 if state == "ok" else 503)

    async def report(self) -> Response:
        """Answer `GET health` with the status and counts."""
        # Public, therefore without names of users or channels, and without addresses.
        lineage = self._pipeline.log.lineage
        return Response.json(
            {
                "status": self._state(),
                "log": self._pipeline.log_name,
                **({"lineage": lineage} if lineage else {}),
                "connections": self._registry.users.total(),
                "users": len(self._registry.users),
                "channels": sum(not is_internal(name) for name in self._hub.fanouts),
            }
        )

    def details(self) -> dict[str, object]:
        """Return what the dashboard shows of the health of this worker."""
        return {
            "status": self._state(),
            **self._status.fields,
            "down_seconds": round(self._status.down_seconds, 1),
            "failing": list(self._failing()),
        }

    def _state(self) -> str:
        if self._registry.draining:
            return "draining"
        if self._status.is_serverless:
            return "ok"
        works = self._hub.ready and self._hub.healthy and not self._failing()
        return "ok" if works else "not ready"
