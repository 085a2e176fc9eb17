"""The command line: one file a command; each calls the library and prints what it returns."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, attributes={"app": ["app", "main"]})
