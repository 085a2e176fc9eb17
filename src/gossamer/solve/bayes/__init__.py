"""Sparse vectors from few measurements: Bayesian priors that learn their own sparsity, and greedy searches."""
