"""Networks with zeros: saliency (which entries matter), patterns (which zeros are allowed), schedules (how many)."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "dynamic.dsl_masker": ["DSLMasker"],
        "dynamic.dynamic_sparse_table": ["DynamicSparseTable"],
        "dynamic.exploration": ["Exploration"],
        "gradients": ["collect_gradients"],
        "graph_lottery.teddy": ["TeddyTrainer"],
        "masks": ["hold_masks", "masks_of", "model_sparsity", "prunable_parameters"],
        "patterns.groups": ["pattern_groups"],
        "pruners.l0_projection": ["L0Projection"],
        "pruners.mfac": ["MFACPruner"],
        "recipes.gradual": ["GradualRecipe"],
        "recipes.reverse": ["ReverseSparsification"],
        "report": ["PruneReport"],
        "saliency.obs": ["nm_drop", "obs_saliency", "obs_update"],
        "schedules": ["cubic_schedule", "geometric_schedule", "update_ratio"],
    },
)
