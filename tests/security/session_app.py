"""Application whose session ends when a file appears: the bridge that a node serves."""

import os
from pathlib import Path

from realtime_bridge.server import Bridge, Request


def current_user(_: Request) -> str | None:
    return None if Path(os.environ["BANNED_FILE"]).exists() else "42"


bridge = Bridge.from_env(authenticate=current_user)


@bridge.channel("job.{name}")
def may_watch(user: str, name: str) -> bool:
    return True
