"""Layers that commute with rotations: features are functions on the sphere, products of features their products."""
