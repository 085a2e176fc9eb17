"""Positional encodings of graphs that do not depend on the choice of eigenvectors, and networks that take them."""
