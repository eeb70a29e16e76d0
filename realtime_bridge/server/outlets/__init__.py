"""Outlets: events of the log, delivered to URLs."""
