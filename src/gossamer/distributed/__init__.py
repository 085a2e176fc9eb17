"""Computations spread over a Dask cluster, or over the processes of a torch.distributed group."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "completion": ["matrix_completion"],
        "covariance": ["covariance"],
        "completion_group": ["complete_matrix"],
        "coresets": ["leverage_scores", "lewis_weights", "lp_coreset"],
        "queries": ["query_map"],
        "sketches": ["sketch_rows", "sketched_lstsq"],
        "sparse_product": ["spgemm"],
        "views": ["fit_views"],
    },
)
