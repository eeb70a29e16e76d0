"""Members of channels: what a server announces, and the list that readers fold."""
