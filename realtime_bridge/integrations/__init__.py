"""Integrations of task queues and Django, one module each."""
