"""Solvers: functions on matrices, and operators that stand for an inverse."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "curvature.explicit": ["DiagonalFisherInverse", "ExplicitFisherInverse"],
        "curvature.factors": ["gemm_factor", "recurrence_factor"],
        "curvature.fisher_inverse": ["FisherInverse"],
        "curvature.mfac": ["MFAC"],
        "curvature.shards": ["all_reduce_sum", "shard_slice"],
        "curvature.sliding": ["SlidingFisherInverse", "window_coefficients"],
        "descent.bcd": ["BCDResult", "block_coordinate_descent"],
        "descent.comparison": ["RuleComparison", "compare_rules"],
        "descent.forests": ["greedy_forest", "lattice_forests", "tree_partition", "tree_solve"],
        "descent.partitions": ["partition_blocks"],
        "descent.problems.least_squares": ["Lasso", "LeastSquares", "NonnegativeLS"],
        "descent.problems.logistic": ["Logistic"],
        "descent.problems.multinomial": ["MultinomialLogistic"],
        "descent.problems.problem": ["BCDProblem"],
        "descent.problems.quadratic": ["LabelPropagation", "Quadratic"],
        "iteration": ["ConvergenceWarning", "Iteration", "SolverResult", "Watch"],
        "linear.cg": ["cg"],
        "linear.front": ["solve"],
    },
)
