"""Positions in a client's request: one position, or null, for each channel."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel, check_channel_text
from realtime_bridge.model.position import Position
from realtime_bridge.server.http.denial import MALFORMED, TOO_MANY, Denial
from realtime_bridge.server.http.request import HTTPError, Request

Positions = Mapping[str, Position | None]


class RequestedPositions(NamedTuple):
    """Channels of a request: those with a position, and those that cannot be answered."""

    positions: dict[str, Position | None]
    denials: dict[str, Denial]


def read_channel(name: str) -> str:
    """Return a channel name after its validation.

    Raises:
        HTTPError: 400, the name is not valid.

    """
    try:
        return check_channel(name)
    except InvalidEventError as error:
        raise HTTPError(400, "bad_channel", str(error)) from error


def read_last_event(request: Request) -> Position | None:
    """Return the position of the last event that a reader of Server-Sent Events has.

    Raises:
        HTTPError: 400, it is no position.

    """
    text = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    try:
        return Position.parse(text) if text else None
    except ValueError as error:
        raise HTTPError(400, "bad_position", str(error)) from error


def read_positions(body: Mapping[str, Any], limit: int) -> RequestedPositions:
    """Return the `positions` of a request; None means from now on.

    One bad channel costs none of the others: it is denied by itself.

    Args:
        body: the request's JSON object.
        limit: the largest number of channels.

    Raises:
        HTTPError: 400, there is no object of positions.

    """
    fields = body.get("positions")
    if not isinstance(fields, dict):
        raise HTTPError(
            400, "bad_position", 'positions is no object: send {"CHANNEL": position or null}'
        )
    requested = RequestedPositions({}, {})
    for name, position in fields.items():
        try:
            after = None if position is None else Position.from_json(position)
            check_channel_text(name)
        except ValueError as error:  # also an InvalidEventError
            requested.denials[name] = Denial(MALFORMED, str(error))
            continue
        if len(requested.positions) < limit:
            requested.positions[name] = after
        else:
            message = f"over {limit} channels at once: send several requests"
            requested.denials[name] = Denial(TOO_MANY, message)
    return requested
