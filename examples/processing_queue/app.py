"""The web application: takes files, answers what became of them, and carries the bridge."""

import logging
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from jobs import Job
from realtime_bridge import PublishError
from realtime_bridge.server import Bridge
from uploads import receive
from worker import configuration, jobs, process

STATIC = Path(__file__).parent / "static"
UPLOADS = configuration.data / "uploads"
UPLOADS.mkdir(exist_ok=True)
USER = "demo"

logger = logging.getLogger("uvicorn.error")


def current_user(request: Any) -> str:
    """Return who is asking: here always the one demo user; yours looks at the session."""
    return USER


def refuse_other_sites(request: Request) -> None:
    """Refuse what another site's page sends here with our user's browser."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "Uploads are taken from this application's own page only.")


bridge = Bridge.from_env(authenticate=current_user)
app = FastAPI(title="Processing queue", lifespan=bridge.lifespan)
app.mount("/realtime", bridge)
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(STATIC / "index.html")


@app.get("/api/queue")
async def queue(request: Request, response: Response) -> dict[str, Any]:
    """Return all jobs of this user, and in the header the position that they are at least at."""
    user = current_user(request)
    channel = f"user-{user}"
    response.headers["Realtime-Position"] = f"{channel} {await bridge.position(channel)}"
    response.headers["Cache-Control"] = "no-store"
    found = await run_in_threadpool(jobs.of, user)
    return {"jobs": [job.view() for job in found], "upload_limit": configuration.upload_limit}


@app.post("/api/upload", status_code=201, dependencies=[Depends(refuse_other_sites)])
async def upload(request: Request) -> dict[str, Any]:
    """Take one file, and queue a job for it."""
    file = await receive(request, UPLOADS, limit=configuration.upload_limit)
    job = Job(user=current_user(request), name=file.name, path=str(file.path), size=file.size)
    await run_in_threadpool(jobs.save, job)
    await tell_queued(job)
    await run_in_threadpool(process, job.id)
    return job.view()


async def tell_queued(job: Job) -> None:
    """Publish that the job is there, before a worker can say that it has begun."""
    try:
        await bridge.publish(job.channel, "job.queued", job.view(), key=f"job-{job.id}")
    except PublishError as error:
        logger.warning("job %s is queued, but that was not published: %s", job.id, error)
