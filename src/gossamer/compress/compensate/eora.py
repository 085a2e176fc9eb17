"""EoRA: low-rank terms from the eigenspace of the inputs, for every linear layer of a compressed model."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from gossamer._core.arrays import to_bits, widen
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.compress.calibrate.windows import calibration_windows, split_windows
from gossamer.compress.compensate.pair import Pair
from gossamer.compress.compensate.ranks import allocate_ranks
from gossamer.compress.compensate.result import CompensationResult, CompensationRow, stored
from gossamer.compress.compensate.walk import INPUTS, Layer, Tokens, walk
from gossamer.compress.models.load import load_model
from gossamer.linalg import WeightedLowRank, weighted_low_rank
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.low_rank import FACTORS, METHODS, SOLVERS

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class EoRAConfig:
    """Settings of a compensation.

    Attributes
    ----------
    rank, method, inputs, budget_bits, legacy_weighting
        As for :func:`eora`.
    solver, factor, unseen, steps, seed
        As for :func:`gossamer.linalg.weighted_low_rank`; ``seed`` is its ``random_state``.
    dtype : {"float32", "bfloat16", "float16"}
        To which factors are rounded.
    held_out : int
        Windows that are set aside, on which residuals are reported as well.
    """

    rank: int | Mapping[str, int] = 32
    method: str = "eora"
    inputs: str = "sequential"
    budget_bits: float | None = None
    legacy_weighting: bool = False
    solver: str = "exact"
    factor: str = "eigen"
    unseen: str = "drop"
    dtype: str = "float32"
    held_out: int = 0
    steps: int = 3000
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("inputs", self.inputs, INPUTS)
        check_choice("solver", self.solver, SOLVERS)
        check_choice("factor", self.factor, FACTORS)
        check_choice("dtype", self.dtype, DTYPES)
        check_int("held_out", self.held_out, low=0)
        if self.budget_bits is not None:
            check_float("budget_bits", self.budget_bits, low=0, closed="neither")
        if isinstance(self.rank, Mapping):
            for pattern, rank in self.rank.items():
                check_int(f"rank[{pattern!r}]", rank, low=0)
        else:
            check_int("rank", self.rank, low=1)


def eora(
    base_model: Any,
    compressed_model: Any,
    calib: Any,
    *,
    rank: int | Mapping[str, int] = 32,
    method: str = "eora",
    inputs: str = "sequential",
    budget_bits: float | None = None,
    legacy_weighting: bool = False,
    length: int = 256,
    windows: int = 64,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> CompensationResult:
    r"""Compensate a compressed model by low-rank terms, without training and without touching what is compressed.

    For each layer with error :math:`\Delta W = W - W_c` the rank-r matrix ``B A`` is taken that minimises
    :math:`\mathbb E\|(\Delta W - B A) x\|^2` over the calibration inputs (:func:`gossamer.linalg.weighted_low_rank`).

    Advice: rank 32 for a hidden size of 576, 128 for the models of 7 billion parameters and more; at least four times
    as many tokens as the rank; half task and half general text (:func:`task_mix`) when the compensation is for a task.

    Parameters
    ----------
    base_model : str, path, torch.nn.Module or SourceModel
        The model before compression (Llama or BERT family); see :func:`gossamer.compress.load_model`.
    compressed_model : Artifact, path of one, torch.nn.Module, or mapping of path to matrix or array
        The model after it. Never changed.
    calib : text, path, array of token ids (windows, length), or mapping
        A mapping has ``input_ids`` and ``attention_mask``, both (windows, length): padded tokens do not count.
    rank : int or mapping of pattern to int
        Rank of every layer, or by shell patterns of module paths, of which the last that matches decides; layers that
        none matches, and those of rank 0, are left as they are.
    method : {"eora", "act", "svd", "learn", "zeroquant-lorc"}
        ``"eora"``, or a baseline.
    inputs : {"sequential", "dense", "true-sequential"}
        The inputs of a block come from the compensated blocks before it, and all its layers are fitted on one pass
        through the block's original weights; or from the original model throughout, in one pass; or as the first,
        with the layers of a block fitted in turn (query, key and value; output; gate and up; down), each on what
        those before it now give.
    budget_bits : float, optional
        Choose the ranks of all layers for so many bits a weight in all; see :func:`allocate_ranks`. ``rank`` is
        ignored. Spectra are taken on the original model's inputs, in a pass of their own.
    legacy_weighting : bool
        Weigh later sequences more, as the research code does; for comparison.
    length, windows : int
        Tokens in a window and number of windows, where ``calib`` is text.
    progress : callable, optional
        Hears (blocks done, blocks).
    **settings
        ``solver``, ``factor``, ``unseen``, ``steps`` and ``seed`` of :func:`gossamer.linalg.weighted_low_rank`;
        ``dtype`` ("float32", "bfloat16", "float16") to which factors are rounded; ``held_out``, how many of the
        windows are set aside, on which residuals are reported beside those of the calibration.

    Returns
    -------
    CompensationResult

    Raises
    ------
    ArgumentError
        For models whose layers differ, ranks outside their range (naming the layer), and bad settings.

    Warns
    -----
    UserWarning
        If there are fewer tokens than four times the rank: residuals on the calibration tokens then flatter.

    Notes
    -----
    One block is at work at a time. O(K^3) once for each distinct input and a decomposition of (O, K) a layer.

    References
    ----------
    Liu et al., "EoRA: training-free compensation for compressed LLM with eigenspace low-rank approximation",
    arXiv 2410.21271, 2024.
    """
    config = EoRAConfig(
        rank=rank,
        method=method,
        inputs=inputs,
        budget_bits=budget_bits,
        legacy_weighting=legacy_weighting,
        **settings,
    )
    source = load_model(base_model)
    pair = Pair(source, compressed_model)
    ids, mask = tokens_of(calib, source, length, windows)
    apart: Tokens | None = None
    if config.held_out:
        chosen, aside = (part[:, 0] for part in split_windows(np.arange(len(ids))[:, None], config.held_out))
        apart = ids[aside], None if mask is None else mask[aside]
        ids, mask = ids[chosen], None if mask is None else mask[chosen]
    ranks = _ranks(pair, config)
    if budget_bits is not None:
        ranks = _budgeted(pair, config, ids, mask, budget_bits)
    adapters: dict[str, WeightedLowRank] = {}
    rows: list[CompensationRow] = []
    few: list[str] = []

    def fit(layer: Layer) -> WeightedLowRank | None:
        wanted = ranks[layer.path]
        if not wanted:
            return None
        started = time.perf_counter()
        adapter = fit_adapter(layer, wanted, config)
        seconds = time.perf_counter() - started
        if layer.tokens < 4 * wanted:
            few.append(layer.path)
        adapters[layer.path] = adapter
        rows.append(row_of(layer, adapter, config.dtype, seconds))
        return adapter

    walk(pair, ids, mask, fit, inputs=inputs, legacy=legacy_weighting, held_out=apart, progress=progress)
    if few:
        warnings.warn(
            f"{len(few)} layers, {few[0]} among them, have fewer tokens than four times their rank: their second "
            "moments are rank-deficient or noisy; give more text or lower ranks",
            stacklevel=2,
        )
    return CompensationResult(
        message=f"{len(adapters)} layers, {config.method}, inputs {config.inputs}",
        adapters=adapters,
        report=tuple(rows),
        config=config,
        pair=pair,
        ids=ids,
        mask=mask,
    )


def fit_adapter(layer: Layer, rank: int, config: EoRAConfig) -> WeightedLowRank:
    """Fit one layer and round its factors to ``config.dtype``; errors name the layer."""
    layer.moment.factor = config.factor
    try:
        fitted = weighted_low_rank(
            layer.error,
            layer.moment,
            rank,
            method=config.method,
            solver=config.solver,
            unseen=config.unseen,
            scale=layer.scale if config.method == "act" else None,
            steps=config.steps,
            random_state=config.seed,
        )
    except ArgumentError as error:
        raise type(error)(f"{layer.path}: {error}") from None
    if config.dtype == "float32":
        return fitted
    if config.dtype == "float16":
        largest = max(np.abs(fitted.A).max(), np.abs(fitted.B).max())
        if largest > 3e4:
            raise ArgumentError(f"{layer.path}: factors reach {largest:.3g}, too large for float16")
        B, A = (factor.astype(np.float16).astype(np.float32) for factor in (fitted.B, fitted.A))
    else:
        B, A = (widen(to_bits(factor)) for factor in (fitted.B, fitted.A))
    residual = weighted_error(layer.error, B @ A, layer.moment.C)
    return replace(fitted, B=B, A=A, residual=float(np.sqrt(max(residual, 0))))


def row_of(layer: Layer, adapter: WeightedLowRank, dtype: str, seconds: float) -> CompensationRow:
    """The line of the report for one layer."""
    apart: tuple[float | None, float | None] = (None, None)
    if layer.held_out is not None:
        product = np.asarray(adapter.B, np.float64) @ adapter.A
        apart = (
            float(np.sqrt(max(weighted_error(layer.error, np.zeros_like(layer.error), layer.held_out), 0))),
            float(np.sqrt(max(weighted_error(layer.error, product, layer.held_out), 0))),
        )
    return CompensationRow(
        module=layer.path,
        shape=(int(layer.error.shape[0]), int(layer.error.shape[1])),
        rank=adapter.rank,
        total=adapter.total,
        residual=adapter.residual,
        held_out_total=apart[0],
        held_out_residual=apart[1],
        nbytes=stored(adapter, dtype).nbytes,
        tokens=layer.tokens,
        seconds=seconds,
    )


def tokens_of(calib: Any, source: Any, length: int, windows: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Calibration tokens (windows, length) and, where some are padding, their mask."""
    if isinstance(calib, Mapping):
        if "input_ids" not in calib:
            raise ArgumentError(f"calib has keys {sorted(calib)}: expected input_ids and attention_mask")
        ids = np.asarray(calib["input_ids"], dtype=np.int64)
        mask = np.asarray(calib["attention_mask"]) if "attention_mask" in calib else None
        if ids.ndim != 2 or (mask is not None and mask.shape != ids.shape):
            raise ArgumentError(
                f"calib: input_ids of shape {ids.shape}: expected (windows, length), as the mask"
            )
        return ids, None if mask is None or mask.all() else mask
    if isinstance(calib, np.ndarray) and calib.ndim == 2 and np.issubdtype(calib.dtype, np.integer):
        return calib.astype(np.int64, copy=False), None
    return calibration_windows(calib, source.tokenizer, length, windows), None


def _ranks(pair: Pair, config: EoRAConfig) -> dict[str, int]:
    shared = pair.tied()
    if not isinstance(config.rank, Mapping):
        return {path: 0 if path in shared else config.rank for path in pair.paths}
    for pattern in config.rank:
        if not any(fnmatchcase(path, pattern) for path in pair.paths):
            raise ArgumentError(f"rank: no layer matches {pattern!r}, the first layer is {pair.paths[0]}")
    ranks = {}
    for path in pair.paths:
        found = [rank for pattern, rank in config.rank.items() if fnmatchcase(path, pattern)]
        ranks[path] = found[-1] if found and path not in shared else 0
    return ranks


def _budgeted(
    pair: Pair, config: EoRAConfig, ids: np.ndarray, mask: np.ndarray | None, bits: float
) -> dict[str, int]:
    shared = pair.tied()
    spectra: dict[str, np.ndarray] = {}
    shapes: dict[str, tuple[int, int]] = {}
    totals: dict[str, float] = {}

    def measure(layer: Layer) -> None:
        if layer.path in shared:
            return
        weighted = layer.moment.times_root(layer.error.astype(np.float64))
        spectra[layer.path] = np.linalg.svd(weighted, compute_uv=False)
        shapes[layer.path] = (int(layer.error.shape[0]), int(layer.error.shape[1]))
        base = pair.base(layer.path)
        totals[layer.path] = float(np.sqrt(weighted_error(base, np.zeros_like(base), layer.moment.C)))

    walk(pair, ids, mask, measure, inputs="dense", legacy=config.legacy_weighting)
    width = 32 if config.dtype == "float32" else 16
    ranks = allocate_ranks(spectra, shapes, totals, bits, bits=width)
    return {path: ranks.get(path, 0) for path in pair.paths}
