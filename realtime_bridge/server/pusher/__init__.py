"""Pusher's protocol on this server: its clients and server SDKs work without a change."""
