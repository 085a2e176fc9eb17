"""Retrieval: documents and queries as vectors, and indexes that find the best documents for a query."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "collection": ["Collection", "Hit", "collection_settings"],
        "dense.product_quantizer": ["ProductQuantizer"],
        "fusion": ["reciprocal_rank_fusion", "score_fusion"],
        "matches": ["Match", "term_matches", "token_matches"],
        "metrics": ["average_flops", "latency_percentiles", "mrr", "ndcg", "recall"],
        "multivector.candidates": ["candidate_recall", "candidates_needed"],
        "multivector.chamfer": ["ball_carve", "chamfer"],
        "multivector.fde": ["FDEConfig", "FDEncoder"],
        "multivector.muvera": ["MuveraIndex"],
        "multivector.ragged": ["TokenVectors"],
        "multivector.single_vector": ["SingleVectorHeuristic"],
        "multivector.token_encoder": ["TokenEncoder"],
        "passages": ["read_passages", "split_passages"],
        "ranking": ["SearchResult"],
        "serve": ["search_app"],
        "shards": ["ShardedIndex"],
        "sparse.bm25": ["BM25DocEncoder"],
        "sparse.distill_trainer": ["SparseDistillTrainer"],
        "sparse.doc_encoder": ["SparseDocEncoder"],
        "sparse.inverted_index": ["InvertedIndex"],
        "sparse.losses": [
            "flops_loss",
            "idf_flops_loss",
            "info_nce_loss",
            "kl_loss",
            "margin_mse_loss",
            "quadratic_ramp",
        ],
        "sparse.query_encoder": ["IDFQueryEncoder", "idf_table"],
        "sparse.rows": ["prune_rows"],
        "sparse.seismic": ["SeismicIndex"],
        "sparse.teacher": ["HeterogeneousTeacher", "SiameseTeacher"],
        "sparse.two_phase": ["two_phase_search"],
        "texts": ["BM25Texts", "MuveraTexts", "SparseTexts"],
    },
)
