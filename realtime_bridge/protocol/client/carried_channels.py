"""Channels of one connection, which carries a limited number of them."""


class CarriedChannels:
    """Channels that one connection carries, and those whose events it does not push.

    The first channels are carried, up to the limit; each that leaves makes room for another.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        """Largest number of channels; None: any."""
        self._carried: dict[str, None] = {}
        self.unpushed: dict[str, None] = {}
        """Channels whose events are not pushed: over the limit, or refused for now."""

    def pushes(self, channel: str) -> bool:
        """Return whether the connection pushes the channel's events, as far as is known."""
        return channel not in self.unpushed

    def carry(self, channel: str) -> bool:
        """Carry a channel, if there is room, and return whether the connection carries it."""
        if channel in self._carried:
            return True
        if self.limit is not None and len(self._carried) >= self.limit:
            self.unpushed[channel] = None
            return False
        self._carried[channel] = None
        return True

    def refused(self, channel: str) -> None:
        """Record that the server refuses the channel for now."""
        self.unpushed[channel] = None

    def subscribed(self, channel: str) -> None:
        """Record that the server pushes the channel's events."""
        self.unpushed.pop(channel, None)

    def leave(self, channel: str) -> str | None:
        """Remove a channel, and return another one that has room now."""
        self.unpushed.pop(channel, None)
        if channel not in self._carried:
            return None
        del self._carried[channel]
        return next((name for name in self.unpushed if name not in self._carried), None)
