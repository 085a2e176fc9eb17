"""Positive matrices of given row and column sums: entropic transport plans, their Hessians and derivatives."""
