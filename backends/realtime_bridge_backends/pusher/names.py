"""Names at Pusher that publishers and clients share."""

EVENT_NAME = "realtime"
"""Name of all our events at Pusher; an event's own name is in its frame."""

DEFAULT_CLUSTER = "mt1"
"""Cluster of `api.pusherapp.com`, to which the SDK sends where no cluster is named."""
