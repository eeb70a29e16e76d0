"""Contract suites that every backend passes."""
