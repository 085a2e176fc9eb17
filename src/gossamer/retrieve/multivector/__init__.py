"""Texts as sets of vectors, one a token, compared by their best matches."""
