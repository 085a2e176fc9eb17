"""Measurements, one file a system: what the paper claims, what we reach, and what the best peer does."""
