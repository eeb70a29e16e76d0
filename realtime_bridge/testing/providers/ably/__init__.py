"""Local Ably: the REST API and the realtime protocol of one application, on the loopback."""
