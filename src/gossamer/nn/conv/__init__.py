"""Convolutions as long as the sequence, partial, sparse in frequency or short, and blocks made of them."""
