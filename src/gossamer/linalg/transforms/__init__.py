"""Transforms: of vectors (Walsh-Hadamard), and of points into coordinates in which functions become products."""
