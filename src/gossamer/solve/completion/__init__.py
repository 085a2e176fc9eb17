"""Matrices of low rank from some of their entries."""
