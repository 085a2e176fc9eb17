"""Sparse codes: generative models by expectation truncation, and orthogonal dictionaries of streams."""
