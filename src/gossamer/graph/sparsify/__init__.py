"""Fewer edges: which ones a network can do without."""
