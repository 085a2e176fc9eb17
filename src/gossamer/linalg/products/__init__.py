"""Products of matrices that choose among several ways of multiplying."""
