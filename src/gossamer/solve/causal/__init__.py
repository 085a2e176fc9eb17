"""Directed acyclic graphs of linear effects, found by continuous optimisation."""
