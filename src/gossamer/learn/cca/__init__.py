"""Correlated subspaces of two or more views."""
