"""Routes of the bridge."""
