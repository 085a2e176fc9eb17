"""Attention beyond pairs of tokens."""
