"""Tall problems made small by random sketches and weighted samples of rows."""
