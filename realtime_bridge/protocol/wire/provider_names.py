"""Reversible mapping of channel names to a hosted provider's names."""

from msgspec import Struct

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel


class ProviderNames(Struct, frozen=True):
    """Mapping that puts one prefix, such as `private-app.`, before each channel name.

    Args:
        start: the prefix; it separates applications that share a provider's account.

    """

    start: str

    def encode(self, channel: str) -> str:
        """Return the provider's name of a channel."""
        return self.start + channel

    def decode(self, name: str) -> str | None:
        """Return the channel of a provider's name; None if the name is another application's."""
        if not name.startswith(self.start):
            return None
        try:
            return check_channel(name.removeprefix(self.start))
        except InvalidEventError:
            return None
