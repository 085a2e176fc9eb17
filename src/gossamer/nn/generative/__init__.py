"""Style-based generators, small enough for a CPU, and what their latent directions do."""
