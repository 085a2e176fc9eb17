"""GQSA in one call: group pruning and group quantisation, then the two training stages."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError
from gossamer.compress.blockwise import StreamStatistics, compress_blocks
from gossamer.compress.calibrate.windows import calibration_windows, split_windows
from gossamer.compress.finetune.bqpo import BlockTrainer
from gossamer.compress.finetune.e2e_oqp import tune
from gossamer.compress.finetune.settings import STAGES, Training
from gossamer.compress.models.load import load_model
from gossamer.compress.models.source import SourceModel
from gossamer.compress.pipeline import compress
from gossamer.compress.recipe import Calibration, Recipe
from gossamer.compress.result import CompressResult, Progress
from gossamer.compress.rule import Rule
from gossamer.compress.work import WorkDirectory
from gossamer.linalg import GroupSparseQuant, StructuredMatrix


@dataclass(frozen=True)
class GQSAConfig:
    """Format and training of GQSA.

    Parameters
    ----------
    bits : {2, 3, 4, 8}
    group_size : int
    sparsity : float in [0, 1)
        Fraction of groups that are pruned; 0 is dense group quantisation in the same format.
    metric : {"auto", "hessian", "obs", "wanda", "magnitude", "sweep"}
        Saliency, see :func:`group_saliency`. The paper's is ``"hessian"``; ``"auto"`` is wanda for plain masking and
        sweep for the start that lets weights reply.
    scope : {"matrix", "row", "block"}
        What one threshold rules over.
    sym : bool
        Grids without zeros.
    zero : {"int", "float"}
        How zeros are stored.
    pad : bool
        Whether a group size that does not divide a layer's width ends rows in padded groups.
    head : {"keep", "w8", "w4"}
        The embedding and head.
    stages : tuple of {"bqpo", "e2e-oqp"}
    windows, length, held_out : int
        Windows of the calibration text to train on, their length, and further ones to judge epochs on.
    training : Training
        Settings of the stages.
    seed : int
    """

    bits: int = 4
    group_size: int = 16
    sparsity: float = 0.5
    metric: str = "auto"
    scope: str = "matrix"
    sym: bool = False
    zero: str = "int"
    pad: bool = False
    head: str = "w8"
    stages: tuple[str, ...] = STAGES
    windows: int = 128
    length: int = 256
    held_out: int = 16
    training: Training = field(default_factory=Training)
    seed: int = 0

    def __post_init__(self) -> None:
        check_float("sparsity", self.sparsity, low=0, high=1, closed="left")
        _ = self.recipe

    @property
    def recipe(self) -> Recipe:
        """The recipe that :func:`compress` takes for it."""
        structure = GroupSparseQuant(
            bits=self.bits,
            group=self.group_size,
            density=1 - self.sparsity,
            symmetric=self.sym,
            zero=self.zero,
            scope=self.scope,
            saliency=self.metric,
        )
        return Recipe(
            name=f"gqsa-w{self.bits}s{100 * self.sparsity:g}",
            default=Rule(structure, pad=self.pad),
            head=self.head,
            calibration=Calibration(windows=self.windows, length=self.length, held_out=self.held_out),
            stages=self.stages,
            training=self.training,
        )


def gqsa(
    model: Any,
    calib: Any,
    *,
    config: GQSAConfig | None = None,
    eval: Any = None,
    window: int = 256,
    windows: int = 12,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> CompressResult:
    """Prune groups, quantise the others, and train what is left; the artifact runs in the engine.

    Parameters
    ----------
    model : str, path, torch.nn.Module or SourceModel
        A decoder of the Llama architecture; see :func:`load_model`.
    calib : str, path, array of int64 of shape (n_seq, length), or an iterable of sequences
        Text or tokens. Sequences of tokens bring their own number and length: ``config.held_out`` of them are set
        aside, evenly spread, and the others are trained on.
    config : GQSAConfig, optional
    eval : str, path or array of int, optional
        Text or tokens for perplexity before and after.
    window, windows : int
        Tokens of a window of ``eval``, and how many.
    out : path, optional
        The artifact directory; a new temporary one if None.
    resume : bool
        Go on with an unfinished run of the same arguments, at the last finished block or the last checkpoint.
    progress : callable, optional
        Called with a :class:`Progress`.

    Returns
    -------
    CompressResult
        ``path`` is the artifact; ``facts["training"]`` has the losses of each block and stage.

    Raises
    ------
    ArgumentError
        For values out of range, no calibration tokens, weights with NaN (naming the tensor).

    References
    ----------
    Zeng et al., "GQSA: Group quantization and sparsity for accelerating large language model inference",
    arXiv 2412.17560, 2024.
    """
    config = config or GQSAConfig()
    recipe, text = _fitting(config, calib)
    target = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="gossamer-gqsa-"))
    return compress(
        model,
        recipe,
        text,
        out=target,
        resume=resume,
        evaluate=eval,
        window=window,
        windows=windows,
        progress=progress,
        seed=config.seed,
    )


def bqpo(
    model: Any, calib: Any, config: GQSAConfig | None = None, *, progress: Callable[[str], None] | None = None
) -> dict[str, StructuredMatrix]:
    """Prune, quantise and train block by block, in memory: the first stage alone.

    Parameters
    ----------
    model, calib, config
        As for :func:`gqsa`; embedding and head stay as they are.
    progress : callable, optional
        Called with a line of text after every epoch.

    Returns
    -------
    dict of str to GroupSparseQuantMatrix
        By module path.
    """
    config = config or GQSAConfig()
    source = load_model(model)
    recipe, text = _fitting(replace(config, stages=("bqpo",)), calib)
    plan = recipe.calibration
    ids, held_out = split_windows(
        calibration_windows(text, source.tokenizer, plan.length, plan.windows + plan.held_out), plan.held_out
    )
    tell = progress or (lambda detail: None)
    with tempfile.TemporaryDirectory(prefix="gossamer-bqpo-") as folder, source.evaluating():
        work = WorkDirectory.open(Path(folder) / "run", {}, resume=False, overwrite=False)
        trainer = BlockTrainer(source, ids, held_out, config.training, folder=work.path, seed=config.seed)
        statistics = StreamStatistics(source, ids, True, stream=trainer.inputs)
        compress_blocks(
            source, recipe, statistics, work, lambda done, detail="": tell(detail), trainer=trainer
        )
        trainer.close()
        return {item.row.module: item.matrix for item in work.load_all()}


def e2e_oqp(
    model: Any,
    batches: Any,
    config: GQSAConfig | None = None,
    *,
    matrices: Mapping[str, StructuredMatrix],
    held_out: np.ndarray | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, StructuredMatrix]:
    """Train scales and zeros of compressed layers end to end: the second stage alone.

    Parameters
    ----------
    model : str, path, torch.nn.Module or SourceModel
        The original model.
    batches : str, path, array of int64 of shape (n_seq, length), or an iterable of such
        What to train on; the order is drawn from ``config.seed``.
    config : GQSAConfig, optional
        Its ``training`` and ``seed`` count.
    matrices : mapping of str to StructuredMatrix
        The compressed layers by module path, as :func:`bqpo` returns them. Codes and patterns stay bit for bit.
    held_out : array of int64, shape (n_seq, length), optional
        Sequences to judge on: the result is kept only if it is better there.
    progress : callable, optional
        ``progress(step, detail)`` after every step.

    Returns
    -------
    dict of str to StructuredMatrix
    """
    config = config or GQSAConfig()
    source: SourceModel = load_model(model)
    recipe, text = _fitting(replace(config, stages=()), batches)
    plan = recipe.calibration
    count = plan.windows + plan.held_out if isinstance(text, np.ndarray) else plan.windows
    ids = calibration_windows(text, source.tokenizer, plan.length, count)
    with source.evaluating():
        return tune(
            source, matrices, ids, config.training, held_out=held_out, tell=progress, seed=config.seed
        ).matrices


def _fitting(config: GQSAConfig, calib: Any) -> tuple[Recipe, Any]:
    """The recipe for this calibration text, or for these sequences as one array of tokens."""
    recipe = config.recipe
    if isinstance(calib, (str, os.PathLike)):
        return recipe, calib
    if calib is None:
        raise ArgumentError("calib=None: expected a text, or token sequences")
    if not isinstance(calib, np.ndarray) and isinstance(calib, Iterable):
        parts = [np.atleast_2d(np.asarray(part)) for part in calib]
        if len({part.shape[1] for part in parts}) > 1:
            raise ArgumentError("calib: expected sequences of equal length")
        calib = np.concatenate(parts) if parts else np.empty((0, 0), np.int64)
    ids = np.asarray(calib)
    if ids.size == 0:
        raise ArgumentError("calib holds no tokens: expected sequences to train on")
    if ids.ndim == 1:
        return recipe, ids
    if len(ids) <= config.held_out and "bqpo" in config.stages:
        raise ArgumentError(
            f"calib has {len(ids)} sequences, of which held_out={config.held_out} are set aside: expected more"
        )
    held_out = config.held_out if "bqpo" in config.stages else 0
    training = replace(config.training, tune_windows=len(ids) - held_out)
    calibration = Calibration(windows=len(ids) - held_out, length=ids.shape[1], held_out=held_out)
    return replace(recipe, calibration=calibration, training=training), ids
