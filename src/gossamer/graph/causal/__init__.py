"""Directed acyclic graphs as causal models: simulation, and how far an estimate is from the truth."""
