"""Applications for ASGI and WSGI servers: each publishes what is posted to `/publish/{user}`."""

from typing import Any

from a2wsgi import WSGIMiddleware
from fastapi import FastAPI
from flask import Flask, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.wsgi import wsgi
from realtime_bridge.server import Bridge
from realtime_bridge.server.http.request import Request

bridge = Bridge.from_env()
broadcaster = BlockingBroadcaster.from_env()

asgi_application = FastAPI(lifespan=bridge.lifespan)
asgi_application.mount("/realtime", bridge)


@asgi_application.post("/publish/{user}")
async def publish(user: str) -> None:
    await bridge.publish(f"user-{user}", "order.paid", 1)


flask_application = Flask(__name__)
flask_application.secret_key = "a secret of the tests"
plain_flask: Any = flask_application.wsgi_app
flask_beside_bridge = WSGIMiddleware(plain_flask)
flask_application.wsgi_app = wsgi(flask_application.wsgi_app, bridge)  # type: ignore[method-assign, assignment]


@flask_application.post("/publish/<user>")
def publish_in_flask(user: str) -> str:
    broadcaster.publish(f"user-{user}", "order.paid", 1)
    return ""


@flask_application.post("/sign-in/<user>")
def sign_in(user: str) -> str:
    session["user"] = user
    return ""


sessions: Any = SecureCookieSessionInterface().get_signing_serializer(flask_application)


def signed_in_user(request: Request) -> str | None:
    """Return the user of Flask's session."""
    try:
        return str(sessions.loads(request.cookies.get("session", ""))["user"])
    except BadSignature:
        return None


own_bridge = Bridge.from_env(authenticate=signed_in_user)


async def flask_and_bridge(scope: Any, receive: Any, send: Any) -> None:
    is_flask = scope["type"] == "http" and not scope["path"].startswith("/realtime/")
    application: Any = flask_beside_bridge if is_flask else own_bridge
    await application(scope, receive, send)
