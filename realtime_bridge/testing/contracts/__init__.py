"""Contract suites for backends: tests that pytest runs over any implementation."""
