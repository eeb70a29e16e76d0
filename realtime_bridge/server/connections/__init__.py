"""Connections of clients, on every transport."""
