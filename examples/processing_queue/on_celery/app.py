"""Web application: an upload calls the task, and Celery's signals report it."""

import os
from signal import SIGKILL

from fastapi import HTTPException, Request

from on_celery.tasks import app as celery
from on_celery.tasks import process_file
from realtime_bridge.integrations.celery import revoke_on_cancel
from realtime_bridge.server import Bridge
from web import Uploaded, User, application, configuration, current_user, reject_other_sites

bridge = Bridge.from_env(authenticate=current_user)
app = application(bridge, page=configuration.data / "page")
revoke_on_cancel(bridge, celery)


@app.post("/api/upload", status_code=201)
def upload(user: User, file: Uploaded) -> dict[str, str]:
    """Accept a file, and queue a job for it."""
    return {"job": process_file.delay(user=user, name=file.name, path=str(file.path)).id}


@app.post("/api/kill-worker", status_code=202)
def kill_worker(user: User, request: Request) -> dict[str, int]:
    """Kill the worker and its processes, to show a lost job; the launcher starts another."""
    reject_other_sites(request)
    workers = celery.control.inspect(timeout=1).stats() or {}
    if not workers:
        raise HTTPException(409, "No worker answers: try again.")
    for worker in workers.values():
        # The launcher starts each worker as the leader of a process group.
        os.killpg(worker["pid"], SIGKILL)
    return {"killed": len(workers)}
