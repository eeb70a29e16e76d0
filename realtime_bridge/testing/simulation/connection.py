"""Sockets and server processes of a simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

OK = 200

Message = tuple[Any, ...]
"""The kind of a message, then its contents."""

Answer = Page | Reset
Positions = Mapping[str, Position | None]


@dataclass(slots=True, eq=False)
class Connection:
    """Server side of a socket.

    Args:
        number: the number that its client gave it.
        client: the client's number.
        node: the server process; None at a provider.
        hosted: whether a provider has the connection, which may lose and reorder messages.
        token: the newest token from the client.
        subscriptions: the offset that the client was last sent, by subscribed channel.
        paused: whether the client is too slow for pushed events, until it subscribes again.
        broken: whether both directions lose every message.
        open: whether the socket is open.
        last_arrival: the time at which the newest message reaches the client.
        last_arrival_up: the time at which the newest message reaches the server.

    """

    number: int
    client: int
    node: "Node | None"
    hosted: bool
    token: int = 0
    subscriptions: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    broken: bool = False
    open: bool = True
    last_arrival: int = 0
    last_arrival_up: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """Server process."""

    up: bool = True
    draining: bool = False


@dataclass(slots=True, eq=False)
class ClientSocket:
    """Client side of a socket.

    Args:
        number: the number from the state machine.
        connection: the server side.
        requests: the position in the pending subscription of each channel.
        ready: whether every channel has had its first answer.

    """

    number: int
    connection: Connection
    requests: dict[str, Position | None] = field(default_factory=dict)
    ready: bool = False
