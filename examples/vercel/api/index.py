"""Python side: the bridge, and a route that queues an export. Vercel serves `app`."""

import os
import uuid
from typing import Any

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from realtime_bridge.server import Bridge

QUEUE = "exports"
USER = "demo"


def current_user(request: Any) -> str:
    """Return the user of a request: the demo user; your application reads the session."""
    return USER


async def start_export(request: Request) -> JSONResponse:
    """Queue an export, and publish that to the page."""
    # Both happen before the response: the host may stop the process after it.
    job = uuid.uuid4().hex[:8]
    queued = {"job": job, "title": f"Export {job}"}
    await bridge.publish(f"user-{USER}", "job.queued", queued, key=f"job-{job}")
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        await redis.lpush(QUEUE, f"{USER} {job}")
    return JSONResponse(queued, status_code=202)


bridge = Bridge.from_env(authenticate=current_user)
app = Starlette(
    routes=[
        Route("/api/exports", start_export, methods=["POST"]),
        Mount("/realtime", bridge),
    ]
)
