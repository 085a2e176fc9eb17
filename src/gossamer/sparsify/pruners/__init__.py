"""Whole ways from a trained network to a sparse one."""
