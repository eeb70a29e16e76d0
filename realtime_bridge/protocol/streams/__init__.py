"""Streams: the decisions of a writer, and the state that readers fold."""
