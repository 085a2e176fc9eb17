"""Causal graphs of the columns of a table."""
