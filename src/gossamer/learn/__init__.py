"""Estimators with scikit-learn's contract (needs the extra ``learn``)."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["bars"],
    attributes={
        "causal.colide": ["CoLiDE"],
        "cca.metrics": ["pcc", "pvc", "tcc"],
        "cca.multiview_cca": ["MultiviewCCA"],
        "cca.stochastic_cca": ["StochasticCCA"],
        "cca.stochastic_pls": ["StochasticPLS"],
        "coding.annealing": ["AnnealingSchedule"],
        "coding.binary": ["BinarySparseCoding"],
        "coding.dictionary_metrics": [
            "dictionary_error",
            "energy_share",
            "frank_wolfe_gap",
            "recovered_atoms",
        ],
        "coding.discrete": ["DiscreteSparseCoding"],
        "coding.gaussian": ["GaussianSparseCoding"],
        "coding.maximal_causes": ["MaximalCausesAnalysis"],
        "coding.maximum_magnitude": ["MaximumMagnitudeCausesAnalysis"],
        "coding.orthogonal_batch": [
            "DictionaryResult",
            "orthogonal_dictionary_alternating",
            "orthogonal_dictionary_gpm",
            "orthogonal_dictionary_msp",
        ],
        "coding.orthogonal_dictionary": ["OnlineOrthogonalDictionary"],
        "coding.posterior": ["PosteriorResult"],
        "coding.ternary": ["TernarySparseCoding"],
        "descent.label_propagation": ["BCDLabelPropagation"],
        "descent.lasso": ["BCDLasso"],
        "descent.logistic_regression": ["BCDLogisticRegression"],
        "recommend.low_rank_completer": ["LowRankCompleter"],
        "recommend.ratings_factorizer": ["RatingsFactorizer"],
        "robust.lp_regressor": ["LpRegressor"],
        "select.quick_selection": ["QuickSelection", "neuron_strength"],
        "select.selection_scores": ["SelectionScores", "clustering_accuracy", "selection_scores"],
        "select.sparse_walsh": ["SparseWalshRegressor"],
    },
)
