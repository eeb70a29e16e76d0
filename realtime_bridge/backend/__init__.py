"""Interfaces of a backend, and the loading of the installed ones."""
