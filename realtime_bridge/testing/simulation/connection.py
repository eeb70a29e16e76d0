"""Sockets and server processes of a simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

OK = 200

Message = tuple[Any, ...]
Answer = Page | Reset
Positions = Mapping[str, Position | None]


@dataclass(slots=True, eq=False)
class Connection:
    """The server's end of a socket; `hosted` is that of a provider, which may lose and reorder."""

    number: int
    client: int
    node: "Node | None"
    hosted: bool
    token: int = 0
    told: dict[str, int] = field(default_factory=dict)
    behind: bool = False
    broken: bool = False
    """What is written on it, either way, gets lost."""
    open: bool = True
    busy_until: int = 0
    """Frames stay in order: none arrives before the last one."""
    up_until: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """One server process."""

    up: bool = True
    draining: bool = False
