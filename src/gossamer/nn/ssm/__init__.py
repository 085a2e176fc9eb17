"""State-space layers for long sequences."""
