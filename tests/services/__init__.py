"""Real servers for the tests: private, on free loopback ports, stopped by who started them."""
