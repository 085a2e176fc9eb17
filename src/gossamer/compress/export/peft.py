"""Low-rank adapters as LoRA directories, in the layout of ``peft``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path, read_json, write_json

_PREFIX = "base_model.model."
_TASKS = {"llama": "CAUSAL_LM", "bert": "FEATURE_EXTRACTION"}


def save_peft(
    path: str | os.PathLike[str], adapters: Mapping[str, Any], *, kind: str = "", base: str = ""
) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``.

    ``lora_alpha`` equals ``r`` in every layer, so that the term counts as it is. Layers of other ranks than the
    commonest stand in ``rank_pattern`` and ``alpha_pattern``.

    Parameters
    ----------
    path : path
        The directory; created if need be.
    adapters : mapping of str to WeightedLowRank
        Terms ``B A`` by module path; anything with ``B`` (O, r) and ``A`` (r, K). Written as float32.
    kind : {"llama", "bert", ""}
        What ``peft`` is told about the task.
    base : str
        Name of the model that the adapters belong to.

    Raises
    ------
    ArgumentError
        If there are no adapters.
    """
    from safetensors.numpy import save_file

    if not adapters:
        raise ArgumentError("adapters is empty: expected at least one layer of rank 1 or more")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    for name, adapter in adapters.items():
        B, A = (np.ascontiguousarray(to_numpy(f), dtype=np.float32) for f in (adapter.B, adapter.A))
        tensors[f"{_PREFIX}{name}.lora_A.weight"], tensors[f"{_PREFIX}{name}.lora_B.weight"] = A, B
        ranks[name] = B.shape[1]
    usual = Counter(ranks.values()).most_common(1)[0][0]
    pattern = {name: rank for name, rank in ranks.items() if rank != usual}
    config = {
        "peft_type": "LORA",
        "task_type": _TASKS.get(kind),
        "base_model_name_or_path": base or None,
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
        "target_modules": sorted(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "inference_mode": True,
    }
    with atomic_path(folder / "adapter_model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    write_json(folder / "adapter_config.json", config)


def load_peft(path: str | os.PathLike[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read a LoRA directory as ``{module path: (B, A)}``, the scale ``alpha / r`` in ``B``.

    Raises
    ------
    FormatError
        If a file is missing or damaged, no plain LoRA, or a layer lacks one of its factors.
    """
    from safetensors import SafetensorError, safe_open

    folder = Path(path)
    config = read_json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA" or config.get("use_rslora") or config.get("use_dora"):
        raise FormatError(
            f"{folder}: expected a plain LoRA adapter, got peft_type={config.get('peft_type')!r}"
        )
    try:
        with safe_open(os.fspath(folder / "adapter_model.safetensors"), framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{folder}: damaged adapter ({error})") from None
    found = {}
    for name in sorted({key.removeprefix(_PREFIX).rpartition(".lora_")[0] for key in tensors}):
        try:
            A, B = (tensors[f"{_PREFIX}{name}.lora_{side}.weight"] for side in "AB")
        except KeyError as error:
            raise FormatError(f"{folder}: no tensor {error}") from None
        rank = config.get("rank_pattern", {}).get(name, config["r"])
        if A.shape[0] != B.shape[1] or A.shape[0] != rank:
            raise FormatError(f"{folder}: {name} has factors {B.shape} and {A.shape}: expected rank {rank}")
        found[name] = B * (config.get("alpha_pattern", {}).get(name, config["lora_alpha"]) / rank), A
    return found
