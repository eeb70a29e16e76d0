"""Event that subscribers of now receive, and no log keeps."""

import msgspec
from msgspec import Struct


class EphemeralEvent(Struct, frozen=True, gc=False, omit_defaults=True):
    """Event without a position: it is never stored, and may be lost.

    Args:
        channel: name of the channel.
        event: name of the event.
        text: the data, as text.
        source: name of the connection that sent it, and does not get it.
        user: id of the user who sent it; None where no user is known.

    """

    channel: str
    event: str
    text: str
    source: str | None = None
    user: str | None = None

    def encode(self) -> bytes:
        """Return the event as one line of JSON, for a listener in another process."""
        return _encode(self)

    @classmethod
    def decode(cls, message: bytes | str) -> "EphemeralEvent":
        """Return the event of `encode`.

        Raises:
            ValueError: another program wrote the message.

        """
        try:
            return _decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"the event is malformed: {error}") from error


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EphemeralEvent).decode
