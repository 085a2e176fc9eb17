"""Graphs: read from what people hold them in, drawn at random, compared, and measured."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "causal.dag_metrics": ["cpdag", "dag_metrics", "edge_average_precision"],
        "causal.linear_sem": ["LinearSEM", "simulate_dag", "simulate_linear_sem"],
        "embed.fastrp": ["FastRP", "fastrp_embedding"],
        "embed.projection": ["very_sparse_projection"],
        "inputs": ["as_adjacency", "read_graph"],
        "sparsify.edge_scores": ["teddy_edge_scores"],
        "sparsify.edges": ["EdgeReport", "sparsify_edges"],
    },
)
