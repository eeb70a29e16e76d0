"""Task queues whose tasks tell their lives as jobs, one module each."""
