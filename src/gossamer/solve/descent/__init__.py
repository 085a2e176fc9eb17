"""Descent on a block of coordinates at a time."""
