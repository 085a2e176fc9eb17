"""Compress a model: load it, calibrate, fit each layer by a recipe, write an artifact for the engine."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["allocate", "calibrate", "compensate", "export", "finetune", "methods", "models", "report"],
    attributes={
        "calibrate": ["calibration_windows", "covariance", "perplexity", "task_mix", "written_text"],
        "compensate": [
            "CompensationResult",
            "EoRAConfig",
            "LowRankCompensation",
            "eora",
            "finetune_compensation",
            "quantize_compensation",
        ],
        "compensate.eora": ["weighted_low_rank"],
        "export": ["export_compressed_tensors", "export_transformers", "load_peft", "save_peft"],
        "finetune.gqsa": ["GQSAConfig", "bqpo", "e2e_oqp", "gqsa"],
        "finetune.settings": ["Training"],
        "methods.groups": ["group_mask", "group_saliency"],
        "models": ["SourceModel", "load_model"],
        "pipeline": ["compress"],
        "prune": ["prune_unstructured"],
        "recipe": ["Budget", "Recipe", "list_recipes", "load_recipe"],
        "rule": ["Override", "Rule"],
        "result": ["CompressResult", "CurvePoint", "LayerRow", "Progress", "Sample"],
        "tradeoff": ["tradeoff"],
    },
)
