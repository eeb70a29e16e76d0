"""Handlers of the bridge's HTTP routes."""
