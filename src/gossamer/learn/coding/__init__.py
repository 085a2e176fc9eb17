"""Probabilistic sparse coding by expectation truncation."""
