"""Options and commands of the hybrid client's state machine; durations are in milliseconds."""

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
"""Action of a client runner.

* `describe`: request a descriptor; `renew`: the same, with fresh credentials.
* `open`: open a transport; `probe`: send `connect` on it, then subscribe; `token`: send the token
  of the last descriptor; `ping`; `close`.
* `poll`: request events from the log, with a socket only those of the channels that it does not
  push; `abandon`: abort that request, and report no result of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices of the application, in milliseconds; the names are those of the browser's client.

    The client checks them once: intervals are from 250 ms to an hour, and other values are replaced
    with a warning. `math.inf` or `False` as the attempts means no limit, and as the heartbeat (or
    0) no ping.

    Args:
        polling_interval: Usual interval of polls.
        fallback_delay: Silence after which polling begins; heartbeats count as messages.
        reconnect_interval: Upper bound of the first wait before another attempt.
        max_reconnect_attempts: Failures in a row after which attempts slow to one every 45 s.
        heartbeat_interval: Time without a sent message after which the client sends a ping.
        push: Whether the client opens transports that push.

    """

    polling_interval: int = 5_000
    fallback_delay: int = 15_000
    reconnect_interval: int = 3_000
    max_reconnect_attempts: int = 5
    heartbeat_interval: int = 30_000
    push: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Part of a descriptor that the machine uses, in milliseconds.

    Args:
        mode: `polling` where the server asks for no push.
        heartbeat: Interval of the server's heartbeats.
        max_age: Age at which a socket gets a successor; None: no limit.
        generation: Version of the deployment's settings; a higher one means another backend or
            address.
        expires: Lifetime of the descriptor and its token.

    """

    mode: Literal["realtime", "polling"] = "realtime"
    heartbeat: int = 10_000
    max_age: int | None = None
    generation: int = 0
    expires: int = 600_000


@dataclass(frozen=True, slots=True)
class Command:
    """Action for the client runner; sockets are numbered in the order of their `open`."""

    do: Action
    socket: int | None = None
    code: int | None = None
