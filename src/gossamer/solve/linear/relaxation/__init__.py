"""Relaxation: successive over-relaxation, SSOR as a preconditioner, and learning the parameter on the way."""
