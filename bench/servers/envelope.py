"""Text of an event that peers send: the same as in our own frames, with a position."""

import json
from itertools import count

_offsets = count(1)


def envelope(channel: str, data: dict[str, object]) -> str:
    """Return an event as text; a careful application encodes each event once."""
    offset = next(_offsets)
    fields = {
        "type": "event",
        "channel": channel,
        "event": "bench.step",
        "id": f"01930000-0000-7000-8000-{offset:012}",
        "epoch": "k3v9q2wz",
        "offset": offset,
        "time": 1763836800123,
        "data": data,
    }
    return json.dumps(fields, separators=(",", ":"))
