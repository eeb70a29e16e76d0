"""Pusher's protocol, version 7, without I/O: signatures, names, calls, frames and the session."""
