"""Sparse vectors over a vocabulary: encoders, their training, the inverted index that serves them, BM25."""
