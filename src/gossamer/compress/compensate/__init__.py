"""Win back with a thin low-rank term what compression broke, the compressed format left as it is."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "eora": ["EoRAConfig", "eora"],
        "layer": ["LowRankCompensation"],
        "quantised": ["quantize_compensation", "quantize_factors"],
        "ranks": ["allocate_ranks"],
        "result": ["CompensationResult", "CompensationRow"],
        "train": ["finetune_compensation"],
    },
)
