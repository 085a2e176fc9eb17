"""Optimal transport: plans, distances and assignments."""
