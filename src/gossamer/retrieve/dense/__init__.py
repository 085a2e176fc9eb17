"""Single vectors: exact search by inner product, libraries that search approximately, product quantisation."""
