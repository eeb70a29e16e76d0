"""Messages of events, as logs store them."""

import orjson

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.messages import ProtocolError

DATA = b',"data":'
"""Start of the data; no earlier field can contain it, since JSON escapes quotes in strings."""


def held_event(frame: bytes) -> Event:
    """Return the event of a message that a log stores.

    Raises:
        ProtocolError: another program wrote the message, and clients could not read it.

    """
    # The data stays bytes: encoding it again costs more than the rest of the read.
    head, _, data = frame.partition(DATA)
    try:
        fields = orjson.loads(head + b"}")
        return Event.from_storage(
            fields["channel"],
            fields["event"],
            data.removesuffix(b"}"),
            id=fields["id"],
            key=fields.get("key"),
            source=fields.get("source"),
            time=fields["time"],
            epoch=fields["epoch"],
            offset=fields["offset"],
            fold=fields.get("fold"),
            attempt=fields.get("attempt"),
            traceparent=fields.get("traceparent"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"the stored event is malformed: {error}") from error
