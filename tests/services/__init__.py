"""Private database servers of the tests, on free loopback ports."""
