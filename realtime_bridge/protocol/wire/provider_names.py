"""Our channels' names at a provider, and back: one reversible codec."""

from dataclasses import dataclass

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel


@dataclass(frozen=True, slots=True)
class ProviderNames:
    """Puts every channel of one application behind the same beginning, such as `private-app.`.

    Args:
        start: what each name begins with at the provider. A channel's name cannot begin so, hence
            no two names meet.

    """

    start: str

    def encode(self, channel: str) -> str:
        """Return the provider's name of our channel."""
        return self.start + channel

    def decode(self, name: str) -> str | None:
        """Return our channel of the provider's name; None where it is none of ours."""
        if not name.startswith(self.start):
            return None
        try:
            return check_channel(name.removeprefix(self.start))
        except InvalidEventError:
            return None
