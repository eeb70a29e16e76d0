"""Applications whose parent process publishes before it forks: gunicorn's preload, and Celery."""

import os

from celery import Celery
from celery.signals import worker_init
from fastapi import FastAPI

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.server import Bridge

FOLDER = os.environ.get("QUEUE_FOLDER", "")
CHANNEL = "user-ann"

broadcaster = BlockingBroadcaster.from_env()


def publish(event: str) -> None:
    broadcaster.publish(CHANNEL, event, os.getpid())


def web() -> FastAPI:
    """Return the web application; it has published before its server forks."""
    bridge = Bridge.from_env()
    publish("order.parent")
    application = FastAPI(lifespan=bridge.lifespan)
    application.mount("/realtime", bridge)

    @application.post("/publish")
    def from_a_thread() -> int:
        publish("order.child")
        return os.getpid()

    return application


app = Celery("forked", broker="filesystem://")
FOLDERS = ("data_folder_in", "data_folder_out", "control_folder")
app.conf.broker_transport_options = dict.fromkeys(FOLDERS, FOLDER)


@worker_init.connect
def publish_before_the_fork(**_: object) -> None:
    publish("order.parent")


@app.task(name="order")
def order() -> None:
    publish("order.child")
