"""Requests and responses over ASGI."""
