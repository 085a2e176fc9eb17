"""Convolutions by chains of short Fourier transforms: the chains, the choice of one, and what runs on arrays."""
