"""Objectives of block coordinate descent, each with the quantity that it maintains."""
