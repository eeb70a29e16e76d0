"""Bridge of the soak's nodes: with traces, an outlet, the dashboard and Pusher's protocol."""

import os

from realtime_bridge.server import Bridge, Request
from tests.lab.traces import record_spans
from tests.lab.visitors import OPERATOR


def authenticate(request: Request) -> str | None:
    """Return the user of a session; the lab's clients have tokens."""
    return request.cookies.get("user")


def is_operator(user: str) -> bool:
    """Return whether a user may see the dashboard."""
    return user == OPERATOR


record_spans()
bridge = Bridge.from_env(authenticate=authenticate)
bridge.dashboard(is_operator)
bridge.outlet(os.environ["LAB_TARGET"])
