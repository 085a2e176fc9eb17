"""Vectors for the nodes of a graph."""
