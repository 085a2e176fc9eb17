"""Training that wins back what a compression lost: block by block, then scales and zeros end to end."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["bqpo", "descent", "e2e_oqp", "forms", "gqsa", "placement", "settings", "starts"],
    attributes={"settings": ["STAGES", "Training"]},
)
