"""Liveness, readiness and a summary of this server."""

from realtime_bridge.server.context import INTERNAL, ServerContext
from realtime_bridge.server.http.response import Response


async def live() -> Response:
    """Answer `GET health/live` with 200: the process works and needs no restart."""
    return Response.json({"status": "ok"})


async def ready(engine: ServerContext) -> Response:
    """Answer `GET health/ready`: 200 while this server can serve clients, else 503."""
    status = _word(engine)
    return Response.json({"status": status}, status=200 if status == "ok" else 503)


async def report(engine: ServerContext) -> Response:
    """Answer `GET health` with the status and counts."""
    # Public, therefore without names of users or channels.
    return Response.json(
        {
            "status": _word(engine),
            "log": str(engine.log),
            "connections": engine.connections.total(),
            "users": len(engine.connections),
            "channels": len(engine.hub.channels - INTERNAL),
        }
    )


def _word(engine: ServerContext) -> str:
    if engine.clients.draining:
        return "draining"
    works = engine.alone or (engine.hub.ready and engine.hub.healthy)
    return "ok" if works else "not ready"
