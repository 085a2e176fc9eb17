"""Where a node stands in its graph: spectra, their stability, and cycles to judge them by."""
