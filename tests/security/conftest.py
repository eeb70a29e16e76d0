"""Fixtures of the tests of attacks: those of the server's tests."""

from tests.server.conftest import serve, shell, site

__all__ = ["serve", "shell", "site"]
