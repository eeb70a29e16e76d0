"""Tasks of Django and their settings, for the worker and for a program that calls them."""

import os
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlparse

import django
from django.conf import settings

from tests.integrations import work

DATABASE = urlparse(os.environ.get("QUEUE_DATABASE_URL", "postgresql://postgres@127.0.0.1/tests"))
HAS_TASKS = find_spec("django.tasks") is not None

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": DATABASE.hostname,
            "PORT": DATABASE.port,
            "USER": DATABASE.username,
            "NAME": DATABASE.path[1:],
        }
    },
    INSTALLED_APPS=["django_tasks_db", *([] if HAS_TASKS else ["django_tasks"])],
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []}},
    USE_TZ=True,
)
django.setup()

if HAS_TASKS:
    from django.tasks import task
else:
    from django_tasks import task

from realtime_bridge import BlockingBroadcaster  # noqa: E402
from realtime_bridge.integrations.django_tasks import current_job, track_tasks  # noqa: E402

broadcaster = BlockingBroadcaster.from_env()
track_tasks(broadcaster, work.channel, cancellable=lambda _: True, result=True)


@task()
def works(*, user: str) -> None:
    work.works(user=user)


@task()
def raises(*, user: str) -> None:
    work.raises(user=user)


@task()
def exits(*, user: str) -> None:
    work.exits(user=user)


@task(takes_context=True)
def returns(context: Any, user: str) -> dict[str, int]:
    return work.returns(user=user)


@task()
async def reports(*, user: str) -> str:
    current_job().progress(0.5)
    return current_job().id


@task()
def works_on(*, user: str) -> None:
    work.works_on(user=user)


@task()
def waits(*, user: str) -> None:
    work.waits(user=user)


@task()
def is_killed(*, user: str) -> None:
    work.is_killed(user=user)
