"""Applications for ASGI and WSGI servers: each publishes what is posted to `/publish/{user}`."""

from fastapi import FastAPI
from flask import Flask

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.wsgi import wsgi
from realtime_bridge.server import Bridge

bridge = Bridge.from_env()
broadcaster = BlockingBroadcaster.from_env()

asgi_application = FastAPI(lifespan=bridge.lifespan)
asgi_application.mount("/realtime", bridge)


@asgi_application.post("/publish/{user}")
async def publish(user: str) -> None:
    await bridge.publish(f"user-{user}", "order.paid", 1)


flask_application = Flask(__name__)
flask_application.wsgi_app = wsgi(flask_application.wsgi_app, bridge)  # type: ignore[method-assign, assignment]


@flask_application.post("/publish/<user>")
def publish_in_flask(user: str) -> str:
    broadcaster.publish(f"user-{user}", "order.paid", 1)
    return ""
