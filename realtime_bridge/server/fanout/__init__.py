"""ChannelFanout-out of each event to the subscribers of its channel."""
