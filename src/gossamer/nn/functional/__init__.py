"""Functions behind modules, for NumPy arrays and torch tensors."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    "gossamer.nn",
    attributes={
        "cca.ey_loss": ["ey_loss"],
        "cca.ssl_ey_loss": ["ssl_ey_loss"],
        "contrast.full_loss": ["full_contrastive_loss"],
        "contrast.gap": ["pamc_gap"],
        "contrast.pamc_loss": ["pamc_loss"],
        "contrast.sampled_loss": ["sampled_contrastive_loss"],
        "equivariant.gaunt_convolution": ["gaunt_convolve"],
        "equivariant.gaunt_product": ["gaunt_plan", "gaunt_power", "gaunt_product"],
        "matching.transport_plan": ["ot_plan"],
        "ssm.kernel": ["ssm_kernel"],
        "ssm.scan": ["associative_scan", "ssm_scan"],
    },
)
