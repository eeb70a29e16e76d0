"""Jobs that report their state to browsers."""
