"""Web application: an upload inserts a row; a cancel and an answer update it."""

import os
from signal import SIGKILL

import psycopg
from fastapi import HTTPException, Request

from on_postgres.rows import add_job, answer, cancel, workers
from realtime_bridge.server import Bridge
from web import Uploaded, User, application, configuration, current_user, reject_other_sites

bridge = Bridge.from_env(authenticate=current_user)
app = application(bridge, page=configuration.data / "page")


@app.post("/api/upload", status_code=201)
def upload(user: User, file: Uploaded) -> dict[str, int]:
    """Accept a file, and queue a job for it."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return {"job": add_job(connection, user=user, title=file.name, path=file.path)}


@bridge.on_cancel
def cancel_row(channel: str, job: str, by: str | None) -> None:
    """Cancel a row; its worker notices at its next write."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        cancel(connection, int(job))


@bridge.on_answer
def answer_row(channel: str, job: str, question: str, value: object, by: str | None) -> None:
    """Write an answer into a row, where its worker waits for it."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        answer(connection, int(job), str(value))


@app.post("/api/kill-worker", status_code=202)
def kill_worker(user: User, request: Request) -> dict[str, int]:
    """Kill the workers of running jobs, to show the next attempt; the launcher starts others."""
    reject_other_sites(request)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        busy = workers(connection)
    if not busy:
        raise HTTPException(409, "No worker has a job now: upload a file first.")
    for worker in busy:
        os.kill(worker, SIGKILL)
    return {"killed": len(busy)}
