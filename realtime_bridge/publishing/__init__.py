"""Publishing side: broadcasters, batches, failover."""
