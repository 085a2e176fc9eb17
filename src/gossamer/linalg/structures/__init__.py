"""The families of matrices, one file each. Importing this package registers them all for files and recipes."""

from gossamer.linalg.structures import unstructured

__all__ = ["unstructured"]
