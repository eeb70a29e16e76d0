"""The backends that ship with realtime_bridge, one module each, loaded by entry point only."""
