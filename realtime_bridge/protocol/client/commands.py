"""The words of the hybrid client's state machine; all durations are in milliseconds."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal[
    "IDLE",
    "BOOT",
    "CONNECTING",
    "PROBING",
    "LIVE",
    "SUSPECT",
    "FALLBACK",
    "UPGRADING",
    "PAUSED",
    "DENIED",
    "STOPPED",
]

Action = Literal["describe", "renew", "open", "probe", "token", "ping", "close", "poll", "abandon"]
"""What a shell can do.

* `describe`: ask for a descriptor; `renew`: the same, with fresh credentials.
* `open`: open a socket; `probe`: say `connect` on it, and subscribe; `token`: hand it the token of
  the last descriptor; `ping`; `close`.
* `poll`: ask the log; `abandon`: abort that request, and never report what became of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the application chose, in milliseconds, by the names that the browser's client has."""

    polling_interval: int = 5_000
    fallback_delay: int = 15_000
    reconnect_interval: int = 3_000
    max_reconnect_attempts: int = 5
    push: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the machine has to know of a descriptor, in milliseconds."""

    mode: Literal["realtime", "polling"] = "realtime"
    heartbeat: int = 10_000
    max_age: int | None = None
    generation: int = 0
    expires: int = 600_000


@dataclass(frozen=True, slots=True)
class Command:
    """What the shell has to do; sockets are numbered in the order they are opened."""

    do: Action
    socket: int | None = None
    code: int | None = None
