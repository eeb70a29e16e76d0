"""Local Pusher Channels: the HTTP API and the WebSocket protocol of one app, on the loopback."""
