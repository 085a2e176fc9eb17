"""Scientific computing with structure: differential equations, fluids, force fields of atoms, radio channels."""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "fluids.comparison": ["SolverComparison", "compare_solvers"],
        "fluids.poisson": ["PoissonSystem", "open_box", "poisson_system"],
        "fluids.scenes": ["fluid_scene"],
        "fluids.smoke": ["Smoke"],
        "forcefield.emt_clusters": ["emt_clusters"],
        "forcefield.gaunt_mace": ["GauntMACE"],
        "forcefield.structures": ["AtomBatch", "Structure", "batch_structures"],
        "forcefield.training": [
            "ForceFieldResult",
            "atomic_energies",
            "force_field_errors",
            "train_force_field",
        ],
        "irs.channel": ["IRSProblem", "channel_nmse", "simulate_channel", "symbol_error_rate"],
        "pde.burgers": ["burgers", "burgers_fields"],
        "pde.heat2d": ["Heat2D", "bump"],
        "pde.shifted_laplacians": ["shifted_laplacians", "truncated_gaussian"],
    },
)
