"""Which entries matter."""
