"""Computations spread over a Dask cluster, or over the processes of a torch.distributed group."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "attacks": ["ATTACKS", "attack_gradients", "drop_packets"],
        "completion": ["matrix_completion"],
        "clustering": ["fit_clustering"],
        "completion_group": ["complete_matrix"],
        "coresets": ["leverage_scores", "lewis_weights", "lp_coreset"],
        "covariance": ["covariance"],
        "parameter_server": ["ParameterServer", "ServerResult"],
        "fastrp": ["fastrp"],
        "queries": ["query_map"],
        "sharded_aggregation": ["ShardedAggregator"],
        "shards": ["index_shards", "map_shards"],
        "sketches": ["sketch_rows", "sketched_lstsq"],
        "sparse_product": ["spgemm"],
        "unmixing": ["fit_unmixing"],
        "spread_matrix": ["SpreadMatrix"],
        "views": ["fit_views"],
    },
)
