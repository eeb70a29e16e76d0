"""Server side of one client connection, without I/O."""
