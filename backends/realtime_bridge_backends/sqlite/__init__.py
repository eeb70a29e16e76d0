"""SQLite: log and feed of one machine, in a file."""
