"""What was seen: flows, losses, events of agents, filters."""
