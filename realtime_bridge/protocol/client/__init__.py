"""Client's state machine and reducer, without I/O."""
