"""Budgets: which layer gets which option, so that the whole is as fast, small or good as was asked for."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["budget", "candidates", "knapsack", "sensitivity", "store"],
    attributes={
        "budget": ["Allocation", "allocate"],
        "knapsack": ["cheapest_within", "choose"],
        "sensitivity": ["output_sensitivity"],
    },
)
