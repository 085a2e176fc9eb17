"""Search directions that are learned."""
