"""Traces over processes."""
