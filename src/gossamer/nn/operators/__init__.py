"""Linear operators as modules: transforms that can be learned."""
