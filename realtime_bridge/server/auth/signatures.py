"""Signatures of calls between our own processes."""

import hmac
from collections import OrderedDict

from realtime_bridge.protocol.wire.rpc import sign

SIGNATURE_SECONDS = 300
"""How far a signed call's timestamp may be from now, either way."""

MAX_SIGNATURES = 100_000


class SignatureError(Exception):
    """A signed call is not accepted; `code` says why in a word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Signatures:
    """Checks the calls of workers, and lets no signed body in twice.

    It remembers a bounded number of signatures. When it has to forget one that could still be
    repeated, it accepts nothing any more that is as old as that one was.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._not_before = 0.0

    def check(self, timestamp: str, signature: str, body: bytes, *, now: float) -> None:
        """Accept a call signed with our secret within 300 s of `now` (Unix seconds).

        Raises:
            SignatureError: `bad_timestamp`, `bad_signature`, or `old_timestamp`.

        """
        try:
            signed_at = float(timestamp)
        except ValueError:
            raise SignatureError(
                "bad_timestamp", "Realtime-Timestamp is the Unix time in seconds"
            ) from None
        expected = sign(self._secret, timestamp, body)
        if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
            raise SignatureError(
                "bad_signature",
                "Realtime-Signature is not hex HMAC-SHA256(REALTIME_SECRET, timestamp.body): "
                "do both sides have the same secret?",
            )
        if not abs(now - signed_at) <= SIGNATURE_SECONDS:
            raise SignatureError(
                "old_timestamp",
                f"Realtime-Timestamp is {abs(now - signed_at):.0f} s away from this server's "
                f"clock, over the limit of {SIGNATURE_SECONDS} s: sign anew, check both clocks",
            )

    def once(self, timestamp: str, signature: str, *, now: float) -> None:
        """Let each checked signature in once.

        Raises:
            SignatureError: `replayed`.

        """
        signed_at, signature = float(timestamp), signature.lower()
        if signature in self._seen or signed_at <= self._not_before:
            raise SignatureError(
                "replayed", "This signed body was received already: sign anew to publish anew"
            )
        self._seen[signature] = signed_at
        while self._seen and next(iter(self._seen.values())) < now - SIGNATURE_SECONDS:
            self._seen.popitem(last=False)
        if len(self._seen) > MAX_SIGNATURES:
            _, forgotten = self._seen.popitem(last=False)
            self._not_before = max(self._not_before, forgotten)

    def forgive(self, signature: str) -> None:
        """Let a signed body in once more, because nothing came of it."""
        self._seen.pop(signature.lower(), None)
