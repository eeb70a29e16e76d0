"""Log and delivery rules of the publishing side, without I/O."""
