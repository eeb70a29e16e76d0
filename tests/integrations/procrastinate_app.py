"""Application on Procrastinate, for a worker and its clients."""

import asyncio
import os

from procrastinate import App, PsycopgConnector

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.procrastinate import current_job, track_tasks
from tests.integrations import work

DATABASE = os.environ.get("QUEUE_DATABASE_URL", "postgresql://127.0.0.1/tests")

app = App(
    connector=PsycopgConnector(conninfo=DATABASE),
    worker_defaults={"fetch_job_polling_interval": 0.2, "shutdown_graceful_timeout": 0.1},
)
broadcaster = BlockingBroadcaster.from_env()
track_tasks(app, broadcaster, work.channel, cancellable=lambda _: True, result=True)

works = app.task(name="works")(work.works)
raises = app.task(name="raises")(work.raises)
is_retried = app.task(name="is_retried", retry=1)(work.is_retried)
returns = app.task(name="returns")(work.returns)
works_on = app.task(name="works_on", retry=1)(work.works_on)
is_killed_once = app.task(name="is_killed_once")(work.is_killed_once)


@app.task(name="waits", retry=1)
async def waits(*, user: str) -> None:
    """Wait, without a look at the job, until the wait is cancelled."""
    await asyncio.sleep(3_600)


@app.task(name="reports")
async def reports(*, user: str) -> str:
    current_job().progress(0.5)
    return current_job().id
