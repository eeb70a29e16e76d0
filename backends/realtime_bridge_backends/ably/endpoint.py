"""Form of an Ably endpoint."""

from realtime_bridge.model.urls import HOST_PATTERN

ENDPOINT_PATTERN = rf"{HOST_PATTERN}|nonprod:[\w-]+"
"""Host, or name of a cluster, without a port."""
