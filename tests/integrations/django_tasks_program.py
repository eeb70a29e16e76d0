"""Program of a site with tasks: `db_worker` with its options, or `serve`, which calls tasks.

Django's settings belong to a whole process, so a test cannot call the tasks itself.
"""

import asyncio
import json
import sys
from typing import Any

import redis
from django.core.management import call_command, execute_from_command_line
from django.db import transaction

from tests.integrations import django_tasks_app, work


def serve() -> None:
    call_command("migrate", verbosity=0)
    client = redis.Redis.from_url(work.REDIS, socket_timeout=None)  # it waits without an end
    client.rpush("ready", "1")
    while True:
        item: Any = client.blpop(["calls"])
        call(json.loads(item[1]))


def call(order: dict[str, Any]) -> None:
    task, user = getattr(django_tasks_app, order["name"]), order["user"]
    match order.get("how"):
        case "async":
            asyncio.run(task.aenqueue(user=user))
        case "rolled back":
            with transaction.atomic():
                task.enqueue(user=user)
                transaction.set_rollback(True)
        case "by position":
            task.enqueue(user)
        case _:
            with transaction.atomic():
                task.enqueue(user=user)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        execute_from_command_line(sys.argv)
