"""Sparse autoencoders of a language model's activations: allocation of codes, training, metrics, steering."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, submodules=["sae_metrics", "steering"])
