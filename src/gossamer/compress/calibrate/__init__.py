"""What compression learns from text: windows of tokens, streams through the blocks, second moments, perplexity."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["mixes", "measure", "statistics", "stream", "windows", "written"],
    attributes={
        "covariance": ["covariance"],
        "mixes": ["task_mix"],
        "measure": ["perplexity"],
        "statistics": ["Statistics", "collect", "collect_examples"],
        "stream": ["Stream", "open_stream"],
        "written": ["written_text"],
        "windows": ["calibration_windows", "evaluation_windows", "split_windows"],
    },
)
