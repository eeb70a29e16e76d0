"""Random histories of keys with owners."""
