"""Whether this server lives, and whether it can do its work."""

from realtime_bridge.server.context import INTERNAL, ServerContext
from realtime_bridge.server.http.response import Response


async def live() -> Response:
    """Answer `GET health/live`: the process answers, so do not restart it."""
    return Response.json({"status": "ok"})


async def ready(engine: ServerContext) -> Response:
    """Answer `GET health/ready`: send clients here, or not now."""
    word = _word(engine)
    return Response.json({"status": word}, status=200 if word == "ok" else 503)


async def report(engine: ServerContext) -> Response:
    """Answer `GET health`: the same for people, with numbers and no names."""
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
