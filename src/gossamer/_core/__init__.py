"""The shared ground: arrays, checks, errors, results, randomness, threads, files, lazy imports."""
