"""Fan-out of events to the subscribers of their channel."""
