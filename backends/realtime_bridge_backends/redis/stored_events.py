"""Events as Redis stores them: their messages, which a script gives their positions."""

from functools import lru_cache

import orjson

from realtime_bridge.model.event import Event

_LABELS = (b"key", b"source", b"fold", b"attempt")


def halves(event: Event) -> tuple[bytes, bytes]:
    """Return an event's message in two parts, before and after `"epoch":…,"offset":…,"time":…`."""
    # The log assigns the position, so a script in the log's server joins the two parts.
    head = b"%b%b" % (_names(event.channel, event.event), orjson.dumps(event.id))
    labels = _labels(event.key, event.source, event.fold, event.attempt)
    if event.traceparent is not None:
        # Beside the cache of labels: each trace has another one.
        labels += b',"traceparent":"%b"' % event.traceparent.encode()
    return head, b'%b,"data":%b}' % (labels, event.body)


@lru_cache(maxsize=4096)
def _names(channel: str, event: str) -> bytes:
    # A channel's name needs no escaping: its characters are restricted.
    return b'{"type":"event","channel":"%b","event":%b,"id":' % (
        channel.encode(),
        orjson.dumps(event),
    )


@lru_cache(maxsize=4096)
def _labels(*labels: str | None) -> bytes:
    return b"".join(
        b',"%b":%b' % (name, orjson.dumps(label))
        for name, label in zip(_LABELS, labels, strict=True)
        if label is not None
    )
