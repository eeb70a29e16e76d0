"""State machine and channel reducer of the client, without I/O."""
