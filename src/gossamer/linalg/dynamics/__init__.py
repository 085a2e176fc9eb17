"""Matrices of linear dynamical systems, and how to diagonalise them."""
