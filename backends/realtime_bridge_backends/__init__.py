"""Built-in backends, loaded by name: no other package imports them."""
