"""Modules for torch: layers whose weights are structured matrices, and attention beyond pairs of tokens."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "attention.match3": ["match3_construction", "match3_dataset"],
        "attention.tensor_attention": ["TensorAttentionInfo", "tensor_attention"],
        "attention.tensor_layer": ["HigherOrderAttention", "TensorAttention"],
        "linear.densify": ["densify"],
        "linear.monarch": ["MonarchLayer", "MonarchLinear", "MonarchReport", "monarchize"],
        "linear.structured": ["StructuredLinear", "replace_linears"],
        "operators.monarch_fft": ["MonarchFFT", "MonarchFFT2"],
    },
)
