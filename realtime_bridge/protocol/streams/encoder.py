"""Interface of the forms in which a stream is sent over HTTP."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from realtime_bridge.protocol.streams.steps import Step


class StreamEncoder(ABC):
    """Encoder of one response."""

    headers: ClassVar[Mapping[str, str]] = {}
    """Headers of the response, beside those of every stream."""

    opening: ClassVar[bytes] = b""
    """Bytes before the first step."""

    is_over: bool = False
    """True once nothing may follow."""

    @abstractmethod
    def encode(self, step: Step) -> bytes:
        """Return the bytes of a step; empty if it changes nothing."""

    @abstractmethod
    def interrupt(self, reason: str) -> bytes:
        """Return the last bytes of a response that the server ends before the stream's end."""
