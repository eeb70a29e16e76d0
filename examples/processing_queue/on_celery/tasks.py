"""The work: a Celery task, whose signals tell of it. `celery -A on_celery.tasks worker` runs it."""

import os
from pathlib import Path

from celery import Celery

from configuration import Configuration
from reading import FileChangedError, read_in_stages, size_of, summary
from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.celery import current_job, track_tasks
from stages import STAGES

app = Celery("processing_queue", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_default_queue="processing_queue",
    task_acks_late=True,  # what a worker was stopped in, another begins again
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)

track_tasks(
    BlockingBroadcaster.from_env(),
    lambda task: f"user-{task.kwargs['user']}",
    title=lambda task: task.kwargs["name"],
)


# A file that is still written to may be whole a little later.
@app.task(autoretry_for=(FileChangedError,), retry_kwargs={"max_retries": 3, "countdown": 2})
def process_file(*, user: str, name: str, path: str) -> None:
    """Process one file from the start."""
    job = current_job()
    assert job
    size = size_of(Path(path))

    def tell(stage: str, done: int) -> None:
        job.progress(done / (size * len(STAGES)), stage=stage)

    rate = Configuration.from_env().bytes_per_second
    result = read_in_stages(Path(path), size, rate=rate, tell=tell)
    job.progress(message=summary(result))
