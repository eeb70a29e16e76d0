"""Events as Redis stores them: their messages, which a script gives their positions."""

import orjson

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.messages import ProtocolError

_DATA = b',"data":'
"""Start of the data; no earlier field can contain it, since JSON escapes quotes in strings."""


def halves(event: Event) -> tuple[bytes, bytes]:
    """Return an event's message in two parts, before and after `"epoch":…,"offset":…,"time":…`."""
    # The log assigns the position, so a script in the log's server joins the two parts.
    names = event.channel.encode(), orjson.dumps(event.event), orjson.dumps(event.id)
    tail = b',"data":%b}' % event.body
    labels = (
        *((b"attempt", event.attempt), (b"fold", event.fold)),
        *((b"source", event.source), (b"key", event.key)),
    )
    for name, label in labels:
        if label is not None:
            tail = b',"%b":%b%b' % (name, orjson.dumps(label), tail)
    # A channel's name needs no escaping: its characters are restricted.
    return b'{"type":"event","channel":"%b","event":%b,"id":%b' % names, tail


def held_event(frame: bytes) -> Event:
    """Return the event of a message that this log stores.

    Raises:
        ProtocolError: another program wrote the message, and clients could not read it.

    """
    # The data stays bytes: encoding it again costs more than the rest of the read.
    head, _, data = frame.partition(_DATA)
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
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"the stored event is malformed: {error}") from error
