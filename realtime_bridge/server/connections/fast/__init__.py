"""The fast shell: `uvicorn --ws realtime_bridge.server.connections.fast:WebSocket`, as `serve` does."""

from realtime_bridge.server.connections.fast.upgrade import WebSocket

__all__ = ["WebSocket"]
