"""Sketches by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, unknown_choice
from gossamer.linalg.sketches.hashing import OSNAP, CountSketch
from gossamer.linalg.sketches.independent import GaussianSketch, RademacherSketch
from gossamer.linalg.sketches.sampling import LeverageSampling, UniformSampling
from gossamer.linalg.sketches.sketch import Sketch
from gossamer.linalg.sketches.srht import SRHT
from gossamer.linalg.sketches.tensor_srht import TensorSRHT
from gossamer.solve.sketch.leverage import leverage_scores
from gossamer.solve.sketch.tall import Tall

Factory = Callable[[int, int, np.random.Generator], Sketch]
SKETCHES: dict[str, Factory] = {
    "srht": lambda n, m, rng: SRHT(n, m, seed=rng),
    "dct": lambda n, m, rng: SRHT(n, m, transform="dct", seed=rng),
    "gaussian": lambda n, m, rng: GaussianSketch(n, m, seed=rng),
    "rademacher": lambda n, m, rng: RademacherSketch(n, m, seed=rng),
    "countsketch": lambda n, m, rng: CountSketch(n, m, seed=rng),
    "osnap": lambda n, m, rng: OSNAP(n, m, min(8, m), seed=rng),
    "uniform": lambda n, m, rng: UniformSampling(n, m, seed=rng),
}


def draw_sketch(sketch: str | Factory, tall: Tall, m: int, rng: np.random.Generator) -> Sketch:
    """A sketch with m rows, by name or by a callable, that fits a problem."""
    if callable(sketch):
        S = sketch(tall.n, m, rng)
        if not isinstance(S, Sketch) or S.shape != (m, tall.n):
            raise ShapeError(f"sketch returned {S!r}: expected a Sketch of shape {(m, tall.n)}")
        return S
    if not isinstance(sketch, str):
        raise UnsupportedError(
            f"sketch is a {type(sketch).__name__}: expected a name, a Sketch or a callable"
        )
    if sketch == "leverage":
        return LeverageSampling(leverage_scores(tall.rows(), random_state=rng), m, seed=rng)
    if sketch not in SKETCHES:
        raise unknown_choice("sketch", sketch, [*SKETCHES, "leverage"])
    if tall.lengths:
        if sketch != "srht":
            raise ArgumentError(f'sketch={sketch!r}: expected "srht" for a Kronecker product, or a callable')
        return TensorSRHT(tall.lengths, m, seed=rng)
    return SKETCHES[sketch](tall.n, m, rng)
