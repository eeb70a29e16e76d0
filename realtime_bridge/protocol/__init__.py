"""The protocol, sans-I/O: no loop, no clock, no dice; time and chance are arguments."""
