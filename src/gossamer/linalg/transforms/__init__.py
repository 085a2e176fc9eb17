"""Transforms of points into coordinates in which a function of their products becomes a product."""
