"""Private servers for tests: Redis and PostgreSQL on free loopback ports."""
