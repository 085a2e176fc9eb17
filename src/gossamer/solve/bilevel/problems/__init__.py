"""Bilevel problems that are ready to use."""
