"""Client for Python programs: each event once and in order, or a reset."""

from realtime_bridge.client.hybrid import HybridClient
from realtime_bridge.client.subscription_set import ChannelReset, DeniedError

__all__ = ["ChannelReset", "DeniedError", "HybridClient"]
