"""Web application: queues uploads, returns the jobs, and mounts the bridge."""

import logging
import os
from contextlib import suppress
from signal import SIGKILL, SIGTERM
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from on_huey.jobs import Job
from on_huey.worker import configuration, jobs, process
from realtime_bridge import PublishError
from realtime_bridge.server import Bridge
from web import STATIC, Uploaded, User, application, current_user, reject_other_sites

logger = logging.getLogger("uvicorn.error")

bridge = Bridge.from_env(authenticate=current_user)
app = application(bridge, page=STATIC)


@app.get("/api/queue")
async def queue(user: User, response: Response) -> dict[str, Any]:
    """Return all jobs of a user; the header has a position that the jobs include."""
    channel = f"user-{user}"
    # The position is read before the jobs: no event falls between the two.
    response.headers["Realtime-Position"] = f"{channel} {await bridge.position(channel)}"
    response.headers["Cache-Control"] = "no-store"
    user_jobs = await run_in_threadpool(jobs.of, user)
    return {"jobs": [job.view() for job in user_jobs], "upload_limit": configuration.upload_limit}


@app.post("/api/upload", status_code=201)
async def upload(user: User, file: Uploaded) -> dict[str, Any]:
    """Accept a file, and queue a job for it."""
    job = Job(user=user, name=file.name, path=str(file.path), size=file.size)
    await run_in_threadpool(jobs.save, job)
    await publish_queued(job)
    await run_in_threadpool(process, job.id)
    return job.view()


@bridge.on_cancel
def cancel(channel: str, job: str, by: str | None) -> None:
    """Write the request into the job's row: its worker reads it a moment later."""
    jobs.cancel(job)


@bridge.on_answer
def answer(channel: str, job: str, question: str, value: object, by: str | None) -> None:
    """Write the answer into the job's row, where its worker waits for it."""
    jobs.answer(job, str(value))


@app.post("/api/kill-worker", status_code=202)
def kill_worker(user: User, request: Request) -> dict[str, int]:
    """Kill the worker of running jobs, to show the next attempt; the launcher starts another."""
    reject_other_sites(request)
    workers = {job.worker for job in jobs.unfinished() if job.worker}
    if not workers:
        raise HTTPException(409, "No worker has a job now: upload a file first.")
    for worker in workers:
        with suppress(ProcessLookupError):  # an earlier click killed it
            os.kill(worker, SIGKILL)
    return {"killed": len(workers)}


@app.post("/api/restart", status_code=202)
def restart(user: User, request: Request) -> None:
    """End this server, to show that pages go on; the launcher starts another."""
    reject_other_sites(request)
    os.kill(os.getpid(), SIGTERM)


async def publish_queued(job: Job) -> None:
    """Publish the new job, before a worker can report its start."""
    try:
        await bridge.publish(job.channel, "job.queued", job.view(), key=f"job-{job.id}")
    except PublishError as error:
        logger.warning("event not published event=job.queued job=%s error=%s", job.id, error)
