"""Pictures of results: matplotlib figures by ``draw(result)``, and SVG drawings that need no package."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["svg"],
    attributes={
        "features": ["Feature", "FeatureReport", "FeatureText", "feature_page", "write_feature_page"],
        "registry": ["draw", "register"],
        "tradeoff": ["TradeoffPoint", "draw_tradeoff", "tradeoff_svg"],
        "heatmap": ["Grid", "draw_grid", "grid_by_block", "heatmap_svg"],
        "bars": ["bars_svg"],
        "unmixing": ["draw_unmixing"],
        "history": ["draw_history"],
    },
)
