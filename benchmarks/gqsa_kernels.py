"""Parts of the GQSA benchmark below the model: one product from memory, and how the work is cut between threads."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare
from benchmarks.kernels import random_groups
from gossamer._kernels import _native, gqs, linear

COLD = 256 << 20
GPU = "W4 S50: 1.26x W2, 2.35x 2:4 with 16-bit values (GPU, end to end)"

Call = Callable[[], None]


def products(full: bool) -> Iterator[Claim]:
    """Matrix-vector products of the W4 S50 kernel against its neighbours, weights always read from memory."""
    rng = np.random.default_rng(0)
    for rows in (4096, 11008):
        yield from _shape(rng, rows, 4096)


def _shape(rng: np.random.Generator, rows: int, cols: int) -> Iterator[Claim]:
    x = rng.standard_normal((1, cols)).astype(np.float32)
    sparse = _copies(_sparse(rng, rows, cols))
    ours = {threads: _cycle(sparse, x, threads) for threads in (1, 2)}
    for bits, name, target in (
        (4, "our dense W4, groups of 16", ">= 1.5x"),
        (2, "our dense W2, groups of 16 (equal bytes)", ">= 1.0x"),
    ):
        dense = _copies(_dense(rng, rows, cols, bits))
        for threads in (1, 2):
            peer = _cycle(dense, x, threads)
            yield _race(rows, cols, threads, ours[threads], peer, name, target, sparse[0].nbytes)
    half = _copies(_two_of_four(rng, rows, cols))
    for threads in (1, 2):
        name = "our 2:4 bfloat16 kernel"
        yield _race(
            rows, cols, threads, ours[threads], _cycle(half, x, threads), name, ">= 2.35x", sparse[0].nbytes
        )
    del half
    for threads in (1, 2):
        name = f"onnxruntime {_version('onnxruntime')} MatMulNBits, 4 bits, blocks of 32, accuracy level 4"
        yield _race(
            rows,
            cols,
            threads,
            ours[threads],
            _nbits(rng, rows, cols, x, threads),
            name,
            ">= 1.3x",
            sparse[0].nbytes,
        )


def _race(
    rows: int, cols: int, threads: int, ours: Call, peer: Call, name: str, target: str, nbytes: int
) -> Claim:
    race = compare(ours, peer, unit="products/s", rounds=51, warmup=8)
    rate = statistics.median(race.ours) * nbytes / 1e9
    short = name.split(",")[0]
    return Claim.from_race(
        f"W4 S50 product, {rows} x {cols}, {threads} thread{'s' if threads > 1 else ''}, against {short}",
        target,
        race,
        peer_name=name,
        paper=GPU if "W2" in name or "2:4" in name else "",
        note=f"int8 activations, one column, copies of {COLD >> 20} MB in turn; ours reads {rate:.1f} GB/s"
        + (
            "; where short of it: one thread spends as long on arithmetic as on bytes" if threads == 1 else ""
        ),
    )


def _copies(prepare: Callable[[], Any]) -> list[Any]:
    """As many prepared copies of one matrix as exceed the cache."""
    first = prepare()
    return [first, *(prepare() for _ in range(COLD // first.nbytes))]


def _cycle(copies: list[Any], x: np.ndarray, threads: int) -> Call:
    """Products with one copy after the other, the next one each call."""
    y = np.empty((1, copies[0].shape[0]), np.float32)
    turn = itertools.cycle(copies)
    return lambda: next(turn).matmat(x, y, True, threads)


def _sparse(rng: np.random.Generator, rows: int, cols: int) -> Callable[[], Any]:
    mask = rng.random((rows, cols // 16)) < 0.5
    row_ptr = np.r_[0, np.cumsum(mask.sum(axis=1))]
    col = np.nonzero(mask)[1]
    factors = random_groups(rng, (len(col),), 4, 16)
    return lambda: linear.group_sparse_quant(row_ptr, col, *factors, cols=cols, bits=4, group=16)


def _dense(rng: np.random.Generator, rows: int, cols: int, bits: int) -> Callable[[], Any]:
    factors = random_groups(rng, (rows, cols // 16), bits, 16)
    return lambda: linear.group_quant(*factors, cols=cols, bits=bits, group=16)


def _two_of_four(rng: np.random.Generator, rows: int, cols: int) -> Callable[[], Any]:
    brain = rng.standard_normal((rows, cols // 2), np.float32).view(np.uint32) >> 16
    pairs = np.array([0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110], np.uint8)  # second and first position
    low, high = rng.choice(pairs, (2, rows, cols // 8))
    return lambda: linear.nm(brain.astype(np.uint16), low | high << 4, cols=cols, n=2, m=4)


def _nbits(rng: np.random.Generator, rows: int, cols: int, x: np.ndarray, threads: int) -> Call:
    import onnx
    import onnxruntime

    def session() -> Any:
        blocks = cols // 32
        weights = [
            onnx.numpy_helper.from_array(rng.integers(0, 256, (rows, blocks, 16), np.uint8), "B"),
            onnx.numpy_helper.from_array(rng.uniform(0.01, 1, rows * blocks).astype(np.float32), "scales"),
        ]
        node = onnx.helper.make_node(
            "MatMulNBits", ["A", "B", "scales"], ["Y"], domain="com.microsoft",
            K=cols, N=rows, bits=4, block_size=32, accuracy_level=4,
        )  # fmt: skip
        kind = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            [node],
            "product",
            [onnx.helper.make_tensor_value_info("A", kind, [1, cols])],
            [onnx.helper.make_tensor_value_info("Y", kind, [1, rows])],
            weights,
        )
        opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # pools of idle sessions must not spin beside the one that works
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads == 1 else "0")
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    size = rows * cols // 2 + rows * cols // 8
    turn = itertools.cycle([session() for _ in range(COLD // size + 1)])
    return lambda: next(turn).run(None, {"A": x})


def balance(full: bool) -> Iterator[Claim]:
    """Rows of Zipf's lengths: busy time of two threads under both ways to cut the work."""
    rng = np.random.default_rng(0)
    rows, count = 4096, 4096
    lengths = np.maximum(1, count // np.arange(1, rows + 1))
    row_ptr = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    col = np.concatenate([np.sort(rng.choice(count, n, replace=False)) for n in lengths]).astype(np.uint16)
    codes, scale, _ = random_groups(rng, (len(col),), 4, 16)
    x = rng.standard_normal((16 * count, 1)).astype(np.float32)

    def alone(first: int, last: int) -> float:
        """Seconds of one thread for kept groups [first, last) of the rows that hold them."""
        top, end = np.searchsorted(row_ptr, first, "right") - 1, np.searchsorted(row_ptr, last)
        own = np.clip(row_ptr[top : end + 1], first, last) - first
        part = slice(first, last)
        times = []
        for _ in range(21):
            start = time.perf_counter()
            gqs.matmat(own.astype(np.int32), col[part], codes[part], scale[part], None, x,
                       bits=4, group=16, act="int8", schedule="row", threads=1)  # fmt: skip
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    kept, cuts = len(col), _native.gqs.task_cuts(row_ptr, 16)
    fixed = alone(0, 1)  # rounding x: not part of any share
    busy = [0.0, 0.0]
    for first, last in itertools.pairwise(cuts):  # a thread that is free takes the next task
        busy[busy.index(min(busy))] += alone(first, last) - fixed
    middle = int(row_ptr[rows // 2])
    shares = [alone(0, middle) - fixed, alone(middle, kept) - fixed]
    pieces = f"{len(cuts) - 1} tasks; every piece timed alone on one thread, then added up"
    note = f"{rows} rows, {kept} kept groups, {pieces}"
    for schedule, times, target in (("task", busy, "<= 1.1"), ("row", shares, "> 1.5")):
        name = f"Longest over shortest busy time of 2 threads, rows of Zipf's lengths, cut by {schedule}s"
        yield Claim(name, target, max(times) / min(times), "x", note=note)


def _version(package: str) -> str:
    from benchmarks.harness import package_versions

    return package_versions([package])[package]
