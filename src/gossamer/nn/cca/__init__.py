"""Losses on the agreement of representations, and networks trained by them."""
