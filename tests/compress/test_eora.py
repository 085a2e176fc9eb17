"""Compensation of whole models: what it promises layer by layer, and for the model."""

import numpy as np
import pytest
from tests.compress.tiny import tiny_bert, tiny_llama, torch

from gossamer.compress import CompensationResult, eora, load_model, perplexity, quantize_compensation
from gossamer.compress.calibrate.covariance import MomentRecorder, covariance
from gossamer.compress.calibrate.mixes import task_lines, task_mix
from gossamer.compress.calibrate.stream import swapped
from gossamer.compress.compensate import allocate_ranks
from gossamer.datasets.arc import MultipleChoice
from gossamer.engine.artifact import load_artifact, save_artifact
from gossamer.linalg import GroupQuant, GroupSparseQuant, weighted_error
from gossamer.nn import replace_linears

W2 = GroupQuant(bits=2, group=32)


@pytest.fixture
def windows(tokens):
    return tokens[: 16 * 32].reshape(16, 32)


def _compressed(module, structure=W2):
    source = load_model(module)
    return {path: structure.project(source.weight(path).numpy()) for path in source.linears()}


def _weights(result):
    return {path: matrix.to_dense() for path, matrix in result.matrices().items()}


@pytest.mark.parametrize("make", [tiny_llama, tiny_bert])
@pytest.mark.parametrize("structure", [W2, GroupSparseQuant(bits=4, group=16, density=0.5)])
def test_no_baseline_leaves_less_in_any_layer(make, structure, windows):
    model = make()
    compressed = _compressed(model, structure)
    left = {}
    for method in ("eora", "act", "svd"):
        result = eora(model, compressed, windows, rank=8, method=method, inputs="dense")
        left[method] = {row.module: row for row in result.report}
        assert len(result.report) == len(load_model(model).linears())
    for path, row in left["eora"].items():
        assert row.residual <= left["act"][path].residual * (1 + 1e-6)
        assert row.residual <= left["svd"][path].residual * (1 + 1e-6)
        assert row.residual < row.total
        assert row.total == pytest.approx(left["svd"][path].total, rel=1e-6)


def test_the_reported_residual_is_what_the_inputs_see(llama, windows):
    result = eora(llama, _compressed(llama), windows, rank=4, inputs="dense")
    moments = covariance(llama.model, [torch.from_numpy(windows)])
    for row in result.report:
        C = moments[row.module.removeprefix("model.")]
        error = result.pair.base(row.module) - result.pair.compressed(row.module)
        adapter = result.adapters[row.module]
        assert row.residual**2 == pytest.approx(weighted_error(error, adapter.B @ adapter.A, C), rel=1e-4)
        assert row.tokens == windows.size


def _distance(model, weights, windows):
    """Mean squared difference of the logits with other weights from the model's own."""
    source, ids = load_model(model), torch.from_numpy(windows)
    with torch.no_grad():
        own = model(ids).logits
        with swapped(source, weights):
            return float((model(ids).logits - own).square().mean())


@pytest.mark.parametrize("inputs", ["sequential", "dense", "true-sequential"])
def test_the_compensated_model_is_nearer_to_its_base(llama, windows, inputs):
    compressed = _compressed(llama)
    ids = windows[:4]
    broken = _distance(llama, {p: m.to_dense() for p, m in compressed.items()}, ids)
    mended = [
        _distance(llama, _weights(eora(llama, compressed, windows, rank=rank, inputs=inputs)), ids)
        for rank in (8, 16, 24)
    ]
    assert broken > mended[0] > mended[1] > mended[2]
    assert mended[2] < 0.5 * broken


def test_ranks_by_pattern(llama, windows):
    ranks = {"*": 4, "*_proj": 8, "*q_proj": 16, "*.1.*": 0}
    result = eora(llama, _compressed(llama), windows, rank=ranks)
    found = {row.module: row.rank for row in result.report}
    assert found["model.layers.0.self_attn.q_proj"] == 16
    assert found["model.layers.2.mlp.down_proj"] == 8
    assert len(found) == 14


def test_at_full_rank_the_base_model_is_back(llama, tokens, windows):
    source = load_model(llama)
    ranks = {path: min(source.weight(path).shape) for path in source.linears()}
    whole = eora(llama, _compressed(llama), windows, rank=ranks, unseen="keep")
    before, after = (
        perplexity(llama, tokens, 32, 8),
        perplexity(llama, tokens, 32, 8, weights=_weights(whole)),
    )
    assert after == pytest.approx(before, rel=1e-3)


def test_later_blocks_see_the_compensated_ones_before_them(llama, windows):
    compressed = _compressed(llama)
    dense = eora(llama, compressed, windows, rank=4, inputs="dense")
    walked = eora(llama, compressed, windows, rank=4)
    first = [row.module for row in dense.report if ".layers.0." in row.module]
    for path in first:
        np.testing.assert_array_equal(dense.adapters[path].A, walked.adapters[path].A)
    later = "model.layers.2.mlp.down_proj"
    assert not np.allclose(dense.adapters[later].A, walked.adapters[later].A)
    # by hand: the inputs of block 1 behind the compensated block 0
    source = load_model(llama)
    weights = _weights(walked)
    with torch.no_grad():
        for path in first:
            source.weight(path).copy_(torch.from_numpy(weights[path]))
    moments = covariance(llama.model, [torch.from_numpy(windows)])
    path = "model.layers.1.self_attn.q_proj"
    error = walked.pair.base(path) - compressed[path].to_dense()
    expected = np.sqrt(weighted_error(error, np.zeros_like(error), moments[path.removeprefix("model.")]))
    row = next(row for row in walked.report if row.module == path)
    assert row.total == pytest.approx(expected, rel=1e-4)


def test_within_a_block_true_sequential_uses_what_stands_before(llama, windows):
    compressed = _compressed(llama)
    walked = eora(llama, compressed, windows, rank=4)
    true = eora(llama, compressed, windows, rank=4, inputs="true-sequential")
    assert list(true.adapters) == list(walked.adapters)
    same = {
        p: np.array_equal(walked.adapters[p].A, true.adapters[p].A) for p in walked.adapters if ".0." in p
    }
    assert all(value == ("q_proj" in p or "k_proj" in p or "v_proj" in p) for p, value in same.items())


def test_padding_and_batches_do_not_change_second_moments(bert, windows):
    ids = torch.from_numpy(windows)
    plain = covariance(bert, [ids])
    split = covariance(bert, [{"input_ids": part} for part in ids.split(3)])
    padded = torch.cat([ids, torch.zeros(16, 7, dtype=ids.dtype)], dim=1)
    mask = (torch.arange(39) < 32).expand(16, 39).long()
    masked = covariance(bert, [{"input_ids": padded, "attention_mask": mask}])
    for path, C in plain.items():
        size = np.abs(C).max()
        np.testing.assert_allclose(split[path], C, atol=1e-6 * size)  # the model itself is float32
        np.testing.assert_allclose(masked[path], C, atol=1e-5 * size)
        np.testing.assert_allclose(C, C.T, atol=1e-12 * size)
    driver = eora(
        bert, _compressed(bert), {"input_ids": padded.numpy(), "attention_mask": mask.numpy()}, rank=4
    )
    alone = eora(bert, _compressed(bert), windows, rank=4)
    for path, adapter in alone.adapters.items():
        product = adapter.B @ adapter.A
        np.testing.assert_allclose(
            driver.adapters[path].B @ driver.adapters[path].A, product, atol=1e-3 * np.abs(product).max()
        )


def test_sums_of_exact_numbers_do_not_depend_on_the_cut():
    layer = torch.nn.Linear(9, 4).double()
    x = torch.randn(50, 9, dtype=torch.float64)
    whole, pieces = covariance(layer, [x], [""]), covariance(layer, list(x.split(7)), [""])
    np.testing.assert_allclose(whole[""], (x.T @ x / 50).numpy(), rtol=1e-12)
    np.testing.assert_allclose(pieces[""], whole[""], rtol=0, atol=1e-12)


def test_legacy_weighting_is_the_formula_of_the_research_code():
    layer, x = torch.nn.Linear(5, 3), torch.randn(6, 4, 5)
    with MomentRecorder({"a": layer}, dtype="float64", legacy=6) as recorder:
        layer(x[:2])
        layer(x[2:])
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for sequence in x.double():
        expected = expected * 6 / 7 + sequence.T @ sequence / 6
    np.testing.assert_allclose(recorder.second("a"), expected.numpy(), rtol=1e-12)
    assert recorder.count("a") == 24


def test_windows_set_aside_are_reported_and_not_fitted_on(llama, windows):
    compressed = _compressed(llama)
    result = eora(llama, compressed, windows, rank=16, held_out=4)
    inner = [row for row in result.report if ".0." in row.module]
    assert all(row.tokens == 12 * 32 for row in result.report)
    # fitted on few tokens, the term helps more there than on what it has not seen
    assert sum(r.held_out_residual / r.held_out_total > r.residual / r.total for r in inner) >= 6
    assert eora(llama, compressed, windows, rank=4).report[0].held_out_total is None


def test_a_budget_is_spent_where_a_byte_gains_most(llama, windows):
    result = eora(llama, _compressed(llama), windows, budget_bits=1.0)
    spent = result.nbytes * 8
    weights = sum(row.shape[0] * row.shape[1] for row in result.report)
    total = sum(int(np.prod(result.pair.source.weight(p).shape)) for p in result.pair.paths)
    assert weights <= total
    assert 0.95 * total < spent <= total
    assert len({row.rank for row in result.report}) > 1


def test_the_heap_finds_the_best_split_of_a_budget():
    rng = np.random.default_rng(0)
    spectra = {name: np.sort(rng.gamma(1, size=4))[::-1] for name in "abc"}
    shapes, totals = dict.fromkeys("abc", (8, 8)), {"a": 1.0, "b": 2.0, "c": 3.0}
    ranks = allocate_ranks(spectra, shapes, totals, 16 * 5 * 16 / (3 * 64), bits=16)
    assert sum(ranks.values()) == 5

    def gain(split):
        return sum((spectra[n][:r] ** 2).sum() / totals[n] ** 2 for n, r in zip("abc", split, strict=True))

    every = [(i, j, 5 - i - j) for i in range(5) for j in range(5) if 0 <= 5 - i - j <= 4]
    assert gain([ranks[n] for n in "abc"]) == pytest.approx(max(map(gain, every)))


@pytest.mark.parametrize("bits", [4, 3])
def test_factors_in_codes_keep_most_of_the_repair(llama, windows, bits):
    compressed = _compressed(llama)
    floats = eora(llama, compressed, windows, rank=16, inputs="dense")
    coded = quantize_compensation(floats, bits, group=32)
    loose = quantize_compensation(floats, bits, group=32, refit=False)
    assert coded.nbytes < 0.35 * floats.nbytes
    kept = [c.recovered / f.recovered for c, f in zip(coded.report, floats.report, strict=True)]
    assert min(kept) > (0.9 if bits == 4 else 0.6)
    better = sum(c.residual <= x.residual for c, x in zip(coded.report, loose.report, strict=True))
    assert better > len(kept) / 2
    matrix = coded.matrices()["model.layers.0.mlp.up_proj"]
    adapter = coded.adapters["model.layers.0.mlp.up_proj"]
    np.testing.assert_allclose(
        matrix.to_dense(),
        compressed["model.layers.0.mlp.up_proj"].to_dense() + adapter.B @ adapter.A,
        atol=1e-5,
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_holds_the_factors(llama, windows, dtype):
    wide = eora(llama, _compressed(llama), windows, rank=8, inputs="dense")
    half = eora(llama, _compressed(llama), windows, rank=8, inputs="dense", dtype=dtype)
    assert half.nbytes * 2 == wide.nbytes
    for a, b in zip(half.report, wide.report, strict=True):
        assert a.residual == pytest.approx(b.residual, rel=2e-3)
    path = half.report[0].module
    dense = half.matrices()[path].to_dense() - half.pair.compressed(path)
    np.testing.assert_allclose(dense, half.adapters[path].B @ half.adapters[path].A, atol=1e-6)


def test_the_model_of_a_result_runs_the_sum_and_leaves_both_models_alone(llama, windows):
    before = {name: tensor.clone() for name, tensor in llama.state_dict().items()}
    compressed = _compressed(llama)
    result = eora(llama, compressed, windows, rank=4)
    ids = torch.from_numpy(windows[:2])
    with torch.no_grad():
        logits = result.model(ids).logits
        for path, weight in _weights(result).items():
            llama.get_submodule(path).weight.copy_(torch.from_numpy(weight))
        torch.testing.assert_close(logits, llama(ids).logits, atol=2e-4, rtol=1e-4)
        llama.load_state_dict(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in llama.state_dict().items())


def test_an_artifact_comes_back_with_its_adapters(llama, tokens, windows, tmp_path):
    from tests.compress.tiny import recipe_of

    from gossamer.compress import compress

    config = {"kind": "group-quant", "bits": 2, "group": 32}
    compress(llama, recipe_of(config), tokens, out=tmp_path / "small", evaluate=tokens, window=32, windows=4)
    result = eora(llama, tmp_path / "small", windows, rank=16, dtype="bfloat16")
    save_artifact(tmp_path / "mended", result.to_artifact())
    mended = load_artifact(tmp_path / "mended")
    path = "model.layers.1.mlp.gate_proj"
    np.testing.assert_allclose(mended.matrices[path].to_dense(), result.matrices()[path].to_dense())
    assert mended.matrices[path].structure.kind == "sum"
    assert mended.metadata["compensation"]["rank"] == 16
    with pytest.raises(TypeError, match="given as an artifact"):
        eora(llama, _compressed(llama), windows, rank=4).to_artifact()


def test_torch_models_serve_as_the_compressed_one(windows):
    base, other = tiny_llama(), tiny_llama()
    with torch.no_grad():
        for layer in load_model(other).linears().values():
            layer.weight.mul_(0.9)
    plain = eora(base, other, windows, rank=4)
    assert plain.report[0].total > 0
    swapped = replace_linears(tiny_llama().model, W2, trainable=False)
    wrapped = tiny_llama()
    wrapped.model = swapped
    structured = eora(base, wrapped, windows, rank=4)
    np.testing.assert_allclose(
        structured.report[0].total, eora(base, _compressed(base), windows, rank=4).report[0].total
    )


def test_a_shared_weight_is_repaired_once(windows):
    model = tiny_llama(layers=2)
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    result = eora(model, _compressed(model), windows, rank=4)
    assert "model.layers.1.mlp.up_proj" not in result.adapters
    assert len(result.adapters) == 13


def test_what_does_not_fit_is_refused(llama, windows):
    compressed = _compressed(llama)
    short = dict(list(compressed.items())[1:])
    with pytest.raises(ValueError, match=r"1 only in the base \(model.layers.0.self_attn.q_proj"):
        eora(llama, short, windows, rank=4)
    with pytest.raises(ValueError, match=r"1 only in the compressed one \(model.layers.9"):
        eora(llama, {**compressed, "model.layers.9.mlp.up_proj": np.zeros((2, 2))}, windows, rank=4)
    with pytest.raises(ValueError, match=r"model\.layers\.0\.self_attn.k_proj: rank=33"):
        eora(llama, compressed, windows, rank=33)
    with pytest.raises(ValueError, match=r"no layer matches 'x\.\*'"):
        eora(llama, compressed, windows, rank={"x.*": 3})
    with pytest.raises(ValueError, match="did you mean 'true-sequential'"):
        eora(llama, compressed, windows, inputs="true-sequentially")
    wrong = {**compressed, "model.layers.0.self_attn.q_proj": np.zeros((3, 64), np.float32)}
    with pytest.raises(ValueError, match=r"q_proj: compressed to shape \(3, 64\)"):
        eora(llama, wrong, windows, rank=4)
    with pytest.warns(UserWarning, match=r"fewer tokens than four times their rank"):
        assert isinstance(eora(llama, compressed, windows[:1], rank=16), CompensationResult)
    with pytest.raises(ValueError, match=r"modules='layers\.9'"):
        covariance(llama.model, [torch.from_numpy(windows)], ["layers.9"])


def test_mixes_hold_their_shares():
    items = [MultipleChoice("Why?", ("no", "because."), 1), ("Who", "me")]
    assert task_lines(items) == "Why? because. Who me. "
    sources = {"task": np.zeros(64, int), "text": np.ones(64, int), "more": np.full(64, 2)}
    ids = task_mix(sources, None, {"task": 0.5, "text": 0.3, "more": 0.2}, length=4, count=10)
    assert np.bincount(ids[:, 0]).tolist() == [5, 3, 2]
    assert set(ids[:4, 0]) == {0, 1, 2}
    with pytest.raises(ValueError, match="add to 1"):
        task_mix(sources, None, {"task": 0.5, "text": 0.3})
    with pytest.raises(ValueError, match="did you mean 'task'"):
        task_mix(sources, None, {"tasks": 1.0})


def test_a_low_rank_term_on_a_recipe_is_eora(llama, tokens, tmp_path):
    from tests.compress.tiny import recipe_of

    from gossamer.compress import compress

    text = recipe_of("GroupQuant(bits=2, group=32) + LowRank(16)", metric="none")
    table = recipe_of({"kind": "group-quant", "bits": 2, "group": 32}, metric="none").with_compensation(16)
    assert text.hash == table.hash
    errors = {}
    for method in ("eora", "act", "svd"):
        recipe = table.with_compensation(16, method)
        rows = compress(llama, recipe, tokens, out=tmp_path / method).layers
        errors[method] = [row.error for row in rows[:7]]
    assert all(a < b and a < c for a, b, c in zip(*errors.values(), strict=True))
    matrix = load_artifact(tmp_path / "eora").matrices["model.layers.0.mlp.up_proj"]
    assert matrix.parts[1].structure.dtype == "bfloat16"
    with pytest.raises(ValueError, match="did you mean 'GroupQuant'"):
        recipe_of("GroupQuants(bits=2)")
    with pytest.raises(ValueError, match="no part of a family"):
        recipe_of("GroupQuant(bits=__import__('os').getpid())")
