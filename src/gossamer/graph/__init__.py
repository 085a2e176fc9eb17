"""Graphs: read from what people hold them in, drawn at random, compared, and measured."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "causal.dag_metrics": ["cpdag", "dag_metrics", "edge_average_precision"],
        "causal.linear_sem": ["LinearSEM", "simulate_dag", "simulate_linear_sem"],
        "cluster.agreement": ["cluster_metrics"],
        "cluster.attributed_amg": ["AttributedAMGClustering"],
        "cluster.attributed_graphs": [
            "AttributedGraph",
            "attributed_lfr",
            "attributed_sbm",
            "noisy_attributes",
        ],
        "cluster.attributes": ["read_attributes"],
        "cluster.augmented": ["augment_with_attributes"],
        "cluster.block_kmeans": ["BlockKMeansResult", "block_kmeans"],
        "cluster.criteria": ["attribute_entropy", "modularity", "reduced_mutual_information"],
        "cluster.laplacian": ["laplacian_spd"],
        "cluster.sa_cluster": ["SACluster"],
        "cluster.smooth_vectors": ["smooth_vectors"],
        "contrast.influence": ["influence_matrix"],
        "contrast.nearest_neighbours": ["knn_graph"],
        "contrast.pamcgc": ["PamCGC"],
        "embed.fastrp": ["FastRP", "fastrp_embedding"],
        "embed.projection": ["very_sparse_projection"],
        "embed.tune": ["TuneResult", "holdout_score", "tune_fastrp"],
        "encode.cycles": ["count_cycles"],
        "encode.laplacian_eigs": ["laplacian_eigs"],
        "encode.pe_stability": ["StabilityResult", "pe_stability"],
        "encode.perturb": ["perturb_edges"],
        "encode.spectral_batch": ["SpectralBatch", "laplacian_batch"],
        "inputs": ["as_adjacency", "read_graph"],
        "stored": ["StoredGraph", "store_graph"],
        "sparsify.edge_scores": ["teddy_edge_scores"],
        "sparsify.edges": ["EdgeReport", "sparsify_edges"],
    },
)
