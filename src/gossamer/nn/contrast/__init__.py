"""Losses that pull neighbours together and push the rest apart."""
