"""The engine: artifacts on disk, and the native decoder and encoder that run them on a CPU."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "artifact": ["Artifact", "load_artifact", "save_artifact"],
        "encoder": ["Encoder"],
        "benchmark": ["BenchmarkResult"],
        "engine": ["Engine"],
        "evaluate": ["AccuracyResult", "PerplexityResult", "Question", "read_questions"],
        "generation": ["GenerateResult"],
        "layout": ["Layout", "model_layout"],
        "sampling": ["Sampling"],
        "tokenizer": ["Tokenizer"],
    },
)
