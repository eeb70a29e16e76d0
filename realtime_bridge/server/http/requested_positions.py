"""Positions in a client's request: one position, or null, for each channel."""

from collections.abc import Mapping
from typing import Any

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.position import Position
from realtime_bridge.server.http.request import HTTPError

Positions = Mapping[str, Position | None]


def read_channel(name: str) -> str:
    """Return a channel name after its validation.

    Raises:
        HTTPError: 400, the name is not valid.

    """
    try:
        return check_channel(name)
    except InvalidEventError as error:
        raise HTTPError(400, "bad_channel", str(error)) from error


def read_positions(body: Mapping[str, Any], limit: int) -> dict[str, Position | None]:
    """Return the `positions` of a request; None means from now on.

    Args:
        body: the request's JSON object.
        limit: the largest number of channels.

    Raises:
        HTTPError: 400, a position is malformed, or the channels are too many.

    """
    positions = body.get("positions")
    if not isinstance(positions, dict):
        raise HTTPError(
            400, "bad_position", 'positions is no object: send {"CHANNEL": position or null}'
        )
    if len(positions) > limit:
        raise HTTPError(
            400,
            "too_many_channels",
            f"{len(positions)} channels are over the limit of {limit}: send several polls",
        )
    return {read_channel(name): _position(name, at) for name, at in positions.items()}


def _position(channel: str, fields: object) -> Position | None:
    if fields is None:
        return None
    try:
        return Position.from_json(fields)
    except ValueError as error:
        raise HTTPError(400, "bad_position", f"{channel}: {error}") from error
