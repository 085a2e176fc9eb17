"""Outer problems over the solutions of many inner ones."""
