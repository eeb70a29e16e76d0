"""Signatures of workers' calls, with protection against replays."""

import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable

from realtime_bridge.model.secret_list import split_secrets
from realtime_bridge.protocol.wire.rpc import sign, sign_nonce

SIGNATURE_SECONDS = 300
"""Largest difference between a call's timestamp and the server's clock, in s."""

MAX_SIGNATURES = 100_000
"""Largest number of stored signatures."""

_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")

_BAD_SIGNATURE = (
    "Realtime-Signature is not hex HMAC-SHA256(REALTIME_SECRET, timestamp.body): "
    "set the same secret on both sides"
)


class SignatureError(Exception):
    """Rejection of a signed call; `code` is a stable word for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Signatures:
    """Verifier of workers' calls; accepts each signed body once.

    It stores up to `capacity` signatures. When it drops a signature that is still valid, it
    rejects all calls of that age and older, so that a replay never passes.

    Args:
        secret: the secret that signs calls; of several, separated by commas, each is valid.
        capacity: the largest number of stored signatures.

    """

    def __init__(self, secret: str, *, capacity: int = MAX_SIGNATURES) -> None:
        self._secrets = split_secrets(secret)
        self._capacity = capacity
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._seen)

    def check(self, timestamp: str, signature: str, body: bytes, *, now: float) -> None:
        """Verify the signature and the timestamp of a call.

        Args:
            timestamp: the `Realtime-Timestamp` header: Unix time, in s.
            signature: the `Realtime-Signature` header: a hex digest.
            body: the signed body.
            now: Unix time, in s.

        Raises:
            SignatureError: `bad_timestamp`, `bad_signature`, or `old_timestamp`.

        """
        self.check_form(timestamp, signature, now=now)
        expected = (sign(secret, timestamp, body) for secret in self._secrets)
        if not _is_any(signature, expected):
            raise SignatureError("bad_signature", _BAD_SIGNATURE)

    def check_form(self, timestamp: str, signature: str, *, now: float) -> None:
        """Verify what needs no body: the timestamp, and that the signature is one.

        Args:
            timestamp: the `Realtime-Timestamp` header.
            signature: the `Realtime-Signature` header.
            now: Unix time, in s.

        Raises:
            SignatureError: as for `check`.

        """
        try:
            signed_at = float(timestamp)
        except ValueError:
            raise SignatureError(
                "bad_timestamp",
                f"Realtime-Timestamp {timestamp[:40]!r} is no number: send the Unix time in s",
            ) from None
        if not _DIGEST.fullmatch(signature):
            raise SignatureError("bad_signature", _BAD_SIGNATURE)
        # `not … <=` rejects NaN too: float("nan") parses, and no comparison with it is true.
        if not abs(now - signed_at) <= SIGNATURE_SECONDS:
            raise SignatureError(
                "old_timestamp",
                f"Realtime-Timestamp is {abs(now - signed_at):.0f} s away from this server's "
                f"clock, over the limit of {SIGNATURE_SECONDS} s: sign again, check both clocks",
            )

    def check_proof(self, nonce: str, proof: object) -> None:
        """Verify a worker's answer to the nonce of its connection.

        Raises:
            SignatureError: `bad_signature`.

        """
        expected = (sign_nonce(secret, nonce) for secret in self._secrets)
        if not isinstance(proof, str) or not _is_any(proof, expected):
            raise SignatureError(
                "bad_signature",
                "The first frame is not signed: send the proof of this connection's nonce",
            )

    def once(self, timestamp: str, signature: str, *, now: float) -> None:
        """Accept a verified signature once.

        Raises:
            SignatureError: `replayed`.

        """
        signed_at, signature = float(timestamp), signature.lower()
        if signature in self._seen or signed_at <= self._not_before:
            raise SignatureError(
                "replayed",
                "This signed body was received before: sign it again to publish it again",
            )
        self._seen[signature] = signed_at
        while self._seen and next(iter(self._seen.values())) < now - SIGNATURE_SECONDS:
            self._seen.popitem(last=False)
        if len(self._seen) > self._capacity:
            _, dropped_at = self._seen.popitem(last=False)
            self._not_before = max(self._not_before, dropped_at)

    def forgive(self, signature: str) -> None:
        """Accept a signature once more, because its events were not published."""
        self._seen.pop(signature.lower(), None)


def _is_any(signature: str, expected: Iterable[str]) -> bool:
    # Constant-time, so that its duration reveals no byte of the expected signature. Bytes,
    # because compare_digest raises TypeError for non-ASCII text.
    given = signature.lower().encode(errors="surrogatepass")
    return any(hmac.compare_digest(one.encode(), given) for one in expected)
