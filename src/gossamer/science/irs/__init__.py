"""Radio channels that an intelligent reflecting surface takes part in."""
