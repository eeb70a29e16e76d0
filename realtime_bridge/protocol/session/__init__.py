"""Server's side of one client connection, without I/O."""
