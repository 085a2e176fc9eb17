"""Algebraic multigrid by matching along a vector, and composite solvers that bootstrap from what they leave."""
