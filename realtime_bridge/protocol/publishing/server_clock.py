"""Clock of a worker, corrected by the time that the server reports."""

from collections.abc import Mapping

MAX_CORRECTION_SECONDS = 86_400.0
"""Largest correction: a false server must not get signatures that are valid in a far future."""


class ServerClock:
    """Clock that signs a worker's calls: the worker's own, until the server refuses its time."""

    def __init__(self) -> None:
        self.correction: float = 0.0
        """Seconds that the server's clock is ahead of this worker's; 0 until a refusal."""

    def timestamp(self, now: float) -> str:
        """Return the server's time as text in s; `now` is the worker's Unix time in s."""
        return f"{now + self.correction:.6f}"

    def correct(self, refusal: object, now: float) -> bool:
        """Use the server's time in a refused call's answer; return whether a retry may succeed.

        Args:
            refusal: the answer, as JSON.
            now: the worker's Unix time, in s.

        """
        error = refusal.get("error") if isinstance(refusal, Mapping) else None
        if not isinstance(error, Mapping) or error.get("code") != "old_timestamp":
            return False
        # An exact type: bool is an int in Python.
        if type(server_ms := error.get("time")) is not int:
            return False
        correction = server_ms / 1_000 - now
        if abs(correction) > MAX_CORRECTION_SECONDS:
            return False
        self.correction = correction
        return True
