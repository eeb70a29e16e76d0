"""WebSocket protocol for uvicorn, the fast one: `serve` uses it.

Elsewhere: `uvicorn --ws realtime_bridge.server.connections.fast:WebSocket`, with the limits of
requests by `--http realtime_bridge.server.connections.fast.http:HTTP`.
"""

from realtime_bridge.server.connections.fast.upgrade import WebSocket

__all__ = ["WebSocket"]
