"""Matching as a layer: transport plans that gradients flow through."""
