"""Which features, and which sets of them, matter."""
