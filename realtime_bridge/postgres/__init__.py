"""Schema of the log in PostgreSQL, writes in the caller's transactions, table watches and relay."""
