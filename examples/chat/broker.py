"""Celery application without its task: the web server sends the task by its name."""

import os

from celery import Celery

celery = Celery("chat", broker=os.environ["REDIS_URL"])
celery.conf.update(
    task_default_queue="chat",
    # Another process repeats the task of a killed one.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
