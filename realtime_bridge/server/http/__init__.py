"""HTTP over ASGI, as far as the bridge needs it."""
