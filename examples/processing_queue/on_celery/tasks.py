"""Celery task that processes a file; Celery's signals report it.

Its worker is a process of its own: `celery -A on_celery.tasks worker`.
"""

import os
from pathlib import Path

from celery import Celery

from configuration import Configuration
from reading import FileChangedError, read_in_stages, size_of, summary
from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.celery import JobTask, current_job, track_tasks
from results import save
from stages import STAGES

app = Celery("processing_queue", broker=os.environ["REDIS_URL"], task_cls=JobTask)
app.conf.update(
    task_default_queue="processing_queue",
    task_acks_late=True,  # another worker repeats the task of a stopped worker
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)

track_tasks(
    BlockingBroadcaster.from_env(),
    lambda task: f"user-{task.kwargs['user']}",
    title=lambda task: task.kwargs["name"],
    cancellable=lambda task: True,
)


# A file that still grows may be complete a little later.
@app.task(autoretry_for=(FileChangedError,), retry_kwargs={"max_retries": 3, "countdown": 2})
def process_file(*, user: str, name: str, path: str) -> None:
    """Process a file from the start."""
    job = current_job()
    size = size_of(Path(path))

    def report(stage: str, done: int) -> None:
        job.progress(done / (size * len(STAGES)), stage=stage)

    configuration = Configuration.from_env()
    result = read_in_stages(Path(path), size, rate=configuration.bytes_per_second, report=report)
    job.progress(message=save(summary(result), name, ask=_ask))


def _ask(text: str, choices: list[str]) -> str:
    return str(current_job().ask(text, choices=choices))
