"""Where a client says that it is: a position, or none yet, for each of its channels."""

from collections.abc import Mapping
from typing import Any

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.position import Position
from realtime_bridge.server.http.request import HTTPError

Positions = Mapping[str, Position | None]


def read_channel(name: str) -> str:
    """Read the name of a channel.

    Raises:
        HTTPError: 400, it is none.

    """
    try:
        return check_channel(name)
    except InvalidEventError as error:
        raise HTTPError(400, "bad_channel", str(error)) from error


def read_positions(body: Mapping[str, Any], limit: int) -> dict[str, Position | None]:
    """Read the `positions` of a request.

    Raises:
        HTTPError: 400, they are malformed, or too many.

    """
    positions = body.get("positions")
    if not isinstance(positions, dict):
        raise HTTPError(400, "bad_position", "positions is an object: a position, or null, each")
    if len(positions) > limit:
        raise HTTPError(400, "too_many_channels", f"Over {limit} channels in one poll")
    return {read_channel(name): _position(name, at) for name, at in positions.items()}


def _position(channel: str, fields: object) -> Position | None:
    if fields is None:
        return None
    try:
        return Position.from_json(fields)
    except ValueError as error:
        raise HTTPError(400, "bad_position", f"{channel}: {error}") from error
