"""Start, stop and coordination of server processes."""
