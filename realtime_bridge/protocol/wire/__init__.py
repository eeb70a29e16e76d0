"""Wire formats: JSON messages, WebSocket frames, workers' calls, close codes."""
