"""Web application: an upload inserts a row, and writes nothing else."""

import os

import psycopg

from on_postgres.rows import add_job
from realtime_bridge.server import Bridge
from web import Uploaded, User, application, configuration, current_user

bridge = Bridge.from_env(authenticate=current_user)
app = application(bridge, page=configuration.data / "page")


@app.post("/api/upload", status_code=201)
def upload(user: User, file: Uploaded) -> dict[str, int]:
    """Accept a file, and queue a job for it."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return {"job": add_job(connection, user=user, title=file.name, path=file.path)}
