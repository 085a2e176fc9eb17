"""Inverses of curvature matrices that are never formed."""
