"""Denials of channels, the same on every transport."""

from typing import Any

from msgspec import Struct

from realtime_bridge.server.http.request import HTTPError

MALFORMED, FORBIDDEN, TOO_MANY, FAILED, UNAVAILABLE = 400, 403, 429, 500, 503
"""Codes of a denial: the first two are final for the channel, the others temporary."""

_WORDS = {
    MALFORMED: "bad_channel",
    FORBIDDEN: "forbidden",
    TOO_MANY: "too_many_channels",
    FAILED: "rule_failed",
    UNAVAILABLE: "kept_by_provider",
}


class Denial(Struct, frozen=True, gc=False):
    """Denial of one channel: a code, and a sentence for people."""

    code: int
    message: str

    @property
    def word(self) -> str:
        """The code as a word, as errors have it."""
        return _WORDS[self.code]

    def to_json(self) -> dict[str, Any]:
        """Return the denial's part in the answer to a request about several channels."""
        return {"error": {"code": self.code, "message": self.message}}

    def to_error(self) -> HTTPError:
        """Return the error of a request about this channel alone."""
        return HTTPError(self.code, self.word, self.message)
