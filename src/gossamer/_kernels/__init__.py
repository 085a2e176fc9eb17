"""Thin wrappers of the compiled module, one a family: they check what native code trusts."""
