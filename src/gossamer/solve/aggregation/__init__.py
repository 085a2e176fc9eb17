"""Rules that combine the gradients of many workers, some of which may be garbage or hostile."""
