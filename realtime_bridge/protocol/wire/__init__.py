"""Messages and frames on the wire."""
