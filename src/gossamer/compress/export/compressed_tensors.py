"""The ``compressed-tensors`` format (vLLM, transformers): integer codes in groups, packed in int32."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gossamer._core.errors import UnsupportedError
from gossamer._kernels.packing import unpack_codes, unpack_zeros
from gossamer.compress.export.directory import write_directory
from gossamer.engine.artifact import Artifact, load_artifact
from gossamer.linalg import GroupQuant, StructuredMatrix


def export_compressed_tensors(artifact: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write an artifact as a Hugging Face directory in the format ``pack-quantized``.

    Group-quantised linear layers keep their codes, scales (as float32, so that nothing is rounded) and integer zero
    points. The format has no place for the other families and for embeddings: those are written dense and listed
    under ``ignore``. Zero points are packed as the package's own decompressor reads them; transformers 5.24 with
    compressed-tensors 0.20 expects them unpacked and refuses asymmetric layers, so use symmetric grids there.

    Parameters
    ----------
    artifact : path
        A directory written by :func:`gossamer.compress.compress`.
    out : path
        The directory to write; it must not exist or be empty.

    Raises
    ------
    UnsupportedError
        If no layer is group-quantised with groups that divide its width and integer zero points.
    FormatError
        If the artifact is damaged.
    ArgumentError
        If ``out`` exists.
    """
    model = load_artifact(artifact)
    packed = {path: matrix for path, matrix in _linears(model).items() if _fits(matrix)}
    if not packed:
        kinds = sorted({matrix.structure.kind for matrix in _linears(model).values()})
        raise UnsupportedError(
            f"{os.fspath(artifact)}: its layers are {', '.join(kinds)}: expected some group-quant layers with "
            "integer zero points and groups that divide the width; export_transformers writes any artifact"
        )
    tensors = dict(model.arrays)
    for path, matrix in model.matrices.items():
        if path in packed:
            tensors |= {f"{path}.{name}": array for name, array in _pack(matrix).items()}
        else:
            tensors[f"{path}.weight"] = model.weight(path)
    config = {**model.config, "quantization_config": _quantization(model, packed)}
    write_directory(out, tensors, config, model.tokenizer)


def _linears(model: Artifact) -> dict[str, StructuredMatrix]:
    embeddings = () if model.kind == "module" else model.layout.either
    return {path: matrix for path, matrix in model.matrices.items() if path not in embeddings}


def _fits(matrix: StructuredMatrix) -> bool:
    structure = matrix.structure
    if not isinstance(structure, GroupQuant) or not (structure.symmetric or structure.zero == "int"):
        return False
    return structure.group == 0 or matrix.shape[1] % structure.group == 0


def _pack(matrix: StructuredMatrix) -> dict[str, np.ndarray]:
    structure: Any = matrix.structure
    rows, columns = matrix.shape
    factors = matrix.numpy().factors
    scale = factors["scale"].astype(np.float32)
    codes = unpack_codes(factors["qweight"], structure.bits, structure.group or columns)
    out = {
        "weight_packed": pack_bits(codes.reshape(rows, columns), structure.bits),
        "weight_scale": scale,
        "weight_shape": np.array([rows, columns], dtype=np.int64),
    }
    if not structure.symmetric:
        zeros = unpack_zeros(factors["zero"], structure.bits, scale.size).reshape(scale.shape)
        out["weight_zero_point"] = np.ascontiguousarray(
            pack_bits(np.ascontiguousarray(zeros.T), structure.bits).T
        )
    return out


def pack_bits(codes: np.ndarray, bits: int) -> np.ndarray:
    """Pack unsigned codes (rows, n) into int32 (rows, ceil(n bits / 32)): code i begins at bit ``i * bits``.

    Parameters
    ----------
    codes : ndarray of uint8, shape (rows, n)
        Values below ``2**bits``.
    bits : int
        Bits of a code.
    """
    rows, count = codes.shape
    words = -(-count * bits // 32)
    stream = (codes[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1
    stream = np.pad(stream.reshape(rows, -1), ((0, 0), (0, 32 * words - count * bits)))
    return np.packbits(stream, axis=1, bitorder="little").view("<i4").astype(np.int32)


def _quantization(model: Artifact, packed: dict[str, StructuredMatrix]) -> dict[str, Any]:
    schemes: dict[tuple[int, int, bool], list[str]] = {}
    for path, matrix in packed.items():
        structure: Any = matrix.structure
        schemes.setdefault((structure.bits, structure.group, structure.symmetric), []).append(path)
    groups = {}
    for index, ((bits, group, symmetric), paths) in enumerate(sorted(schemes.items())):
        groups[f"group_{index}"] = {
            "targets": paths,
            "weights": {
                "num_bits": bits,
                "type": "int",
                "symmetric": symmetric,
                "strategy": "group" if group else "channel",
                "group_size": group or None,
                "dynamic": False,
            },
            "input_activations": None,
            "output_activations": None,
            "format": "pack-quantized",
        }
    others = [path for path in _linears(model) if path not in packed]
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": sorted({*others, "lm_head"}),
    }
