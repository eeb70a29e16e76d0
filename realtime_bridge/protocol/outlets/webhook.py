"""Webhooks of events, in the form of Standard Webhooks (standardwebhooks.com)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from msgspec import Struct

from realtime_bridge.model.event import Event


class Webhook(Struct, frozen=True):
    """Request that delivers an event.

    Args:
        id: id of the message, the same for each attempt: receivers drop repeated ones by it.
        body: JSON of the request.
        traceparent: trace context of the publish, for the header of this name.

    """

    id: str
    body: bytes
    traceparent: str | None = None

    @classmethod
    def of(cls, event: Event) -> "Webhook":
        """Return the webhook of a stored event."""
        # An event's id is unique in its channel alone.
        digest = hashlib.sha256(f"{event.channel}\n{event.id}".encode()).digest()
        moment = datetime.fromtimestamp((event.time or 0) / 1_000, UTC)
        fields = {
            "type": event.event,
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": orjson.Fragment(event.body),
            "channel": event.channel,
            "id": event.id,
            "key": event.key,
            "position": str(event.position),
        }
        number = f"msg_{base64.urlsafe_b64encode(digest[:18]).decode()}"
        return cls(number, orjson.dumps(fields), event.traceparent)

    def headers(self, keys: Sequence[bytes], now: float) -> dict[str, str]:
        """Return the headers of an attempt at a Unix time; each key signs."""
        timestamp = str(int(now))
        signed = b".".join((self.id.encode(), timestamp.encode(), self.body))
        digests = (hmac.digest(key, signed, "sha256") for key in keys)
        trace = {} if self.traceparent is None else {"traceparent": self.traceparent}
        return trace | {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(
                f"v1,{base64.b64encode(digest).decode()}" for digest in digests
            ),
        }
