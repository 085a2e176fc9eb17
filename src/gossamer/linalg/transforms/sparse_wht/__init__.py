"""Sparse Walsh-Hadamard transform from few samples: designs, offsets, samples, peeling, refinement, plans."""
