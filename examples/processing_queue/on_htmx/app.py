"""Web application: queues uploads, cancels jobs, and mounts the bridge."""

from pathlib import Path

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from on_htmx.worker import jobs, process, show
from on_huey.jobs import Job
from realtime_bridge.server import Bridge
from web import Uploaded, User, application, current_user, reject_other_sites

bridge = Bridge.from_env(authenticate=current_user)
app = application(bridge, page=Path(__file__).with_name("page"))


@app.post("/api/upload", status_code=204)
async def upload(user: User, file: Uploaded) -> None:
    """Accept a file, and queue a job for it; its row arrives on the stream."""
    job = Job(user=user, name=file.name, path=str(file.path), size=file.size)
    await run_in_threadpool(show, job)
    await run_in_threadpool(process, job.id)


@app.post("/api/cancel/{job_id}", status_code=204)
def cancel(job_id: str, user: User, request: Request) -> None:
    """Ask the worker to cancel a job of this user."""
    reject_other_sites(request)
    job = jobs.get(job_id)
    if job is None or job.user != user:
        raise HTTPException(404, "There is no such job.")
    jobs.cancel(job.id)
