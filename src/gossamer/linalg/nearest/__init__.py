"""Projections that families share: which entries to keep, and how the error of the rest is moved."""
