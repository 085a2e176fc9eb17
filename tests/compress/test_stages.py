"""The two training stages: what they promise, on tiny models."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from tests.compress.tiny import tiny_bert, tiny_llama, torch

from gossamer._core.errors import ArgumentError, FormatError, UnsupportedError
from gossamer.compress import (
    GQSAConfig,
    Recipe,
    Training,
    bqpo,
    compress,
    e2e_oqp,
    gqsa,
    load_model,
    load_recipe,
    perplexity,
    tradeoff,
)
from gossamer.compress.calibrate.activations import MappedChunks
from gossamer.compress.calibrate.stream import swapped
from gossamer.compress.finetune.descent import Descent, cosine, order
from gossamer.compress.finetune.e2e_oqp import tune
from gossamer.compress.finetune.objectives import objective
from gossamer.engine.artifact import load_artifact
from gossamer.linalg import GroupQuant, NMQuant

QUICK = Training(epochs=2, weight_rates=(1e-3,), tune_steps=10, save_every=3, precision="float32")
SPARSE = {"kind": "group-sparse-quant", "bits": 4, "group": 16, "density": 0.5}
FILES = ("model.safetensors", "gossamer.json", "config.json")


def recipe(structure=SPARSE, stages=("bqpo", "e2e-oqp"), training=QUICK, **table):
    plain = Recipe.from_config(
        {
            "name": "test",
            "default": {"structure": structure, **table},
            "calibration": {"windows": 16, "length": 32, "held_out": 4},
        }
    )
    return replace(plain, stages=stages, training=replace(training, tune_windows=24))


def config(**changes):
    return GQSAConfig(**{"windows": 16, "length": 32, "held_out": 4, "training": QUICK} | changes)


def test_stages_train_the_codes_of_a_compensated_layer_and_leave_its_term(tokens, tmp_path):
    plain = recipe(stages=("bqpo",))
    start = compress(
        tiny_llama(),
        replace(plain, stages=(), training=Training()).with_compensation(4),
        tokens,
        out=tmp_path / "start",
    )
    result = compress(tiny_llama(), recipe().with_compensation(4), tokens, out=tmp_path / "out")
    training = result.facts["training"]
    assert any(block["kept"] for block in training["bqpo"]["blocks"]), "training helps"
    assert training["e2e-oqp"]["held_out_loss_after"] < training["e2e-oqp"]["held_out_loss_before"]
    bare = compress(tiny_llama(), plain, tokens, out=tmp_path / "bare").facts["training"]["bqpo"]["blocks"]
    assert training["bqpo"]["blocks"][0]["losses"][0] < bare[0]["losses"][0], (
        "the term is there from the start"
    )
    matrices = load_artifact(tmp_path / "out").matrices
    for path, matrix in matrices.items():
        if "embed" not in path and "lm_head" not in path:
            assert [part.structure.kind for part in matrix.parts] == ["group-sparse-quant", "low-rank"]
    assert start.nbytes == result.nbytes


@pytest.mark.parametrize(
    "structure",
    [
        SPARSE,
        {**SPARSE, "scope": "block", "zero": "float"},
        {"kind": "group-quant", "bits": 2, "group": 16},
        {"kind": "nm-quant", "n": 2, "m": 4, "bits": 4, "group": 16},
    ],
    ids=lambda s: f"{s['kind']}{s.get('scope', '')}",
)
def test_both_stages_run_on_every_quantised_family(structure, tokens, tmp_path):
    model = tiny_llama()
    result = compress(
        model, recipe(structure), tokens, out=tmp_path / "out", evaluate=tokens, window=32, windows=8
    )
    training = result.facts["training"]
    for block in training["bqpo"]["blocks"]:
        losses = block["losses"]
        assert len(losses) == 3
        assert block["kept"] == int(np.argmin(losses))
    assert sum(block["kept"] > 0 for block in training["bqpo"]["blocks"]) >= 2, "training helps"
    assert training["e2e-oqp"]["held_out_loss_after"] <= training["e2e-oqp"]["held_out_loss_before"]
    artifact = load_artifact(tmp_path / "out")
    dense = tiny_llama(seed=9)
    state = {name: torch.from_numpy(np.array(array)) for name, array in artifact.dense().items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    dense.load_state_dict(state, strict=True)
    assert result.perplexity == pytest.approx(perplexity(dense, tokens, 32, 8), rel=1e-5)
    assert sum(row.nbytes for row in result.layers) == sum(
        matrix.nbytes for matrix in artifact.matrices.values()
    )
    if structure.get("scope") == "block":
        stored = [m for p, m in artifact.matrices.items() if ".0." in p]
        groups = [m.shape[0] * m.shape[1] // 16 for m in stored]
        assert sum(m.nnz_groups for m in stored) == sum(groups) / 2, "half of the block's groups"
        assert len({m.nnz_groups / g for m, g in zip(stored, groups, strict=True)}) > 1, "unevenly"


def test_the_model_itself_is_not_touched(llama, tokens, tmp_path):
    before = {name: tensor.clone() for name, tensor in llama.state_dict().items()}
    modules = [type(module) for module in llama.modules()]
    compress(llama, recipe(), tokens, out=tmp_path / "out")
    assert all(torch.equal(before[name], tensor) for name, tensor in llama.state_dict().items())
    assert [type(module) for module in llama.modules()] == modules
    assert not any(parameter.requires_grad for parameter in llama.parameters())


def test_eight_bits_without_pruning_lose_almost_nothing_and_what_is_exact_stays_exact(tokens):
    model = tiny_llama()
    source = load_model(model)
    matrices = bqpo(model, tokens, config(bits=8, sparsity=0.0))
    for path, A in matrices.items():
        W = source.weight(path).numpy()
        assert np.square(W - A.to_dense()).sum() < 1e-4 * np.square(W).sum()
        assert A.density == 1
    on_grid = tiny_llama()
    with torch.no_grad():
        for path in matrices:
            weight = on_grid.get_submodule(path).weight
            weight.copy_(torch.from_numpy(GroupQuant(bits=8, group=16).project(weight.numpy()).to_dense()))
    exact = bqpo(on_grid, tokens, config(bits=8, sparsity=0.0, training=replace(QUICK, init="mask")))
    again = bqpo(
        on_grid, tokens, config(bits=8, sparsity=0.0, training=replace(QUICK, epochs=0, init="mask"))
    )
    for path, A in exact.items():
        np.testing.assert_array_equal(A.to_dense(), again[path].to_dense())


def test_block_training_is_never_worse_than_its_start_on_the_validation_windows(tokens, tmp_path):
    harmful = replace(QUICK, weight_rates=(3.0,), scale_rate=1.0, zero_rate=1.0)
    trained = bqpo(tiny_llama(), tokens, config(training=harmful))
    start = bqpo(tiny_llama(), tokens, config(training=replace(QUICK, epochs=0)))
    for path, A in trained.items():
        np.testing.assert_array_equal(A.to_dense(), start[path].to_dense(), err_msg=path)


def test_the_sweep_of_learning_rates_is_made_on_the_first_block_and_kept(tokens, tmp_path):
    training = replace(QUICK, weight_rates=(1e-6, 1e-3, 10.0))
    result = compress(tiny_llama(), recipe(stages=("bqpo",), training=training), tokens, out=tmp_path / "out")
    rates = [block["weight_rate"] for block in result.facts["training"]["bqpo"]["blocks"]]
    assert rates == [1e-3] * 3


@pytest.mark.parametrize("settings", [{}, {"train_zero": False}, {"export_zero": "float"}, {"distil": 0.5}])
def test_end_to_end_training_touches_scales_and_zeros_only(tokens, settings):
    model = tiny_llama()
    matrices = bqpo(model, tokens, config())
    ids = tokens[: 24 * 32].reshape(24, 32)
    training = replace(QUICK, tune_steps=20, tune_zero_rate=5e-2, tune_scale_rate=1e-3, **settings)
    tuned = e2e_oqp(model, ids, config(training=training), matrices=matrices)
    moved = {"scale": 0, "zero": 0}
    for path, A in matrices.items():
        B = tuned[path]
        for name in ("row_ptr", "col", "qweight"):
            np.testing.assert_array_equal(A.factors[name], B.factors[name])
        assert ((A.to_dense() == 0) >= (B.to_dense() == 0)).mean() > 0.95
        for name in moved:
            same = A.factors[name].dtype == B.factors[name].dtype
            moved[name] += int(not same or (A.factors[name] != B.factors[name]).any())
        assert B.structure.zero == settings.get("export_zero", "int")
    assert moved["scale"] == len(matrices)
    assert bool(moved["zero"]) == settings.get("train_zero", True)
    weights = [{path: m.to_dense() for path, m in found.items()} for found in (matrices, tuned)]
    before, after = (perplexity(model, ids, 32, 24, weights=w) for w in weights)
    assert after < before


def test_end_to_end_training_that_hurts_is_thrown_away(tokens):
    model = tiny_llama()
    source = load_model(model)
    matrices = bqpo(model, tokens, config(bits=8, sparsity=0.0, training=replace(QUICK, epochs=0)))
    monotone = np.full((16, 32), 5)
    with source.evaluating():
        eager = replace(QUICK, tune_scale_rate=1e-2)
        tuned = tune(source, matrices, monotone, eager, held_out=tokens[:256].reshape(8, 32))
    assert tuned.before == tuned.after
    assert all(tuned.matrices[path] is matrices[path] for path in matrices)


def test_layers_of_other_families_stay_as_they_were_fitted(tokens, tmp_path):
    table = {
        "name": "test",
        "stages": ["bqpo", "e2e-oqp"],
        "training": {"epochs": 1, "weight_rates": [1e-3], "tune_steps": 4, "tune_windows": 16},
        "calibration": {"windows": 16, "length": 32, "held_out": 4},
        "default": {"structure": SPARSE},
        "override": [
            {"match": "*.down_proj", "keep": True},
            {"match": "*.o_proj", "structure": SPARSE, "compensate": {"kind": "low-rank", "rank": 2}},
        ],
    }
    model = tiny_llama()
    compress(model, Recipe.from_config(table), tokens, out=tmp_path / "out")
    artifact = load_artifact(tmp_path / "out")
    kinds = {path.rpartition(".")[2]: m.structure.kind for path, m in artifact.matrices.items()}
    assert kinds["down_proj"] == "dense"
    assert kinds["o_proj"] == "sum"
    assert kinds["q_proj"] == SPARSE["kind"]
    kept = artifact.matrices["model.layers.1.mlp.down_proj"].to_dense()
    np.testing.assert_array_equal(kept, model.model.layers[1].mlp.down_proj.weight.numpy())


def test_activations_in_files_give_the_same_bytes(tokens, tmp_path):
    compress(tiny_llama(), recipe(stages=("bqpo",)), tokens, out=tmp_path / "a")
    mapped = recipe(stages=("bqpo",), training=replace(QUICK, max_cache_bytes=0))
    compress(tiny_llama(), mapped, tokens, out=tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    chunks = MappedChunks(tmp_path / "chunks.bin")
    chunks.append(torch.arange(6.0).reshape(2, 3))
    chunks.append(torch.ones(1, 3))
    chunks[1] = torch.full((1, 3), 2.0)
    assert [c.tolist() for c in chunks] == [[[0, 1, 2], [3, 4, 5]], [[2, 2, 2]]]
    assert [c.shape for c in chunks[0:2]] == [(2, 3), (1, 3)]
    with pytest.raises(TypeError):
        del chunks[0]
    with pytest.raises(TypeError):
        chunks.insert(0, torch.ones(1, 3))
    chunks.close()
    assert not (tmp_path / "chunks.bin").exists()


def test_a_run_killed_in_either_stage_goes_on_to_the_same_bytes(tokens, tmp_path):
    np.save(tmp_path / "tokens.npy", tokens)
    script = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from gossamer.compress import compress
        from tests.compress.test_stages import recipe
        from tests.compress.tiny import tiny_llama, torch

        torch.set_num_threads(1)
        out, folder, *when = sys.argv[1:]

        def die(progress):
            if when and (progress.stage, str(progress.done)) == tuple(when) and "epoch 2" not in progress.detail:
                os.kill(os.getpid(), signal.SIGKILL)

        tokens = np.load(folder + "/tokens.npy")
        compress(tiny_llama(), recipe(), tokens, out=out, progress=die, resume=os.path.exists(out + ".work"))
        """
    )

    def run(out, *when):
        command = [sys.executable, "-c", script, str(tmp_path / out), str(tmp_path), *when]
        paths = [os.getcwd(), *filter(None, sys.path)]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, timeout=120
        ).returncode

    assert run("killed", "compress", "1") == -signal.SIGKILL  # in the middle of the second block
    assert (tmp_path / "killed.work" / "block-000.safetensors").exists()
    assert run("killed", "e2e-oqp", "8") == -signal.SIGKILL  # two steps behind a checkpoint
    assert (tmp_path / "killed.work" / "e2e-oqp.safetensors").exists()
    assert run("killed") == 0
    compress(tiny_llama(), recipe(), tokens, out=tmp_path / "whole")
    for name in FILES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_damaged_checkpoint_is_named(tokens, tmp_path):
    model = tiny_llama()
    source = load_model(model)
    matrices = bqpo(model, tokens, config(training=replace(QUICK, epochs=0)))
    (tmp_path / "c.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(FormatError, match=r"c\.safetensors: damaged"):
        tune(source, matrices, tokens[:640].reshape(20, 32), QUICK, checkpoint=tmp_path / "c.safetensors")


def test_blocks_of_an_encoder_are_trained(tokens, tmp_path):
    result = compress(tiny_bert(), recipe(stages=("bqpo",)), tokens % 90, out=tmp_path / "out")
    assert any(block["kept"] for block in result.facts["training"]["bqpo"]["blocks"])


def test_an_encoder_learns_its_own_embeddings_back(tokens, tmp_path):
    two_bits = recipe(
        {"kind": "group-quant", "bits": 2, "group": 16},
        stages=("e2e-oqp",),
        training=replace(QUICK, tune_steps=24),
    )
    result = compress(tiny_bert(), two_bits, tokens % 90, out=tmp_path / "out")
    training = result.facts["training"]
    before, after = (training["e2e-oqp"][f"held_out_loss_{when}"] for when in ("before", "after"))
    assert after < 0.9 * before, "scales learn something"

    source = load_model(tiny_bert())
    matrices = load_artifact(tmp_path / "out").matrices
    rows = torch.from_numpy(tokens[-8 * 32 :].reshape(8, 32) % 90)
    ours = tiny_bert()
    with torch.no_grad():
        for path in source.linears():
            ours.get_submodule(path).weight.copy_(torch.from_numpy(matrices[path].to_dense()))
        h, h0 = (m(input_ids=rows).last_hidden_state for m in (ours, tiny_bert()))
        e, e0 = (torch.nn.functional.normalize(x.mean(1), dim=-1) for x in (h, h0))
        near = [(a - b).norm() ** 2 / b.norm() ** 2 + (u - v).norm() ** 2 for a, b, u, v in zip(h, h0, e, e0)]
        weights = {path: matrices[path].to_dense() for path in source.linears()}
        aim = objective(source, Training())
        teacher = aim.outputs(rows.numpy())
        with swapped(source, weights):
            found = float(aim.loss(aim.outputs(rows.numpy()), rows.numpy(), teacher))
    assert found == pytest.approx(float(sum(near) / 8), rel=1e-5)


def test_the_end_to_end_stage_needs_a_known_aim():
    with pytest.raises(UnsupportedError, match="decoder or an encoder"):
        objective(load_model(torch.nn.Linear(4, 4), example_inputs=torch.ones(1, 4)), Training())


def test_one_call_does_all(tokens, tmp_path):
    ids = tokens[: 40 * 32].reshape(40, 32)
    result = gqsa(
        tiny_llama(), list(ids), config=config(sparsity=0.25), eval=tokens, window=32, out=tmp_path / "out"
    )
    assert result.facts["calibration_windows"] == 36
    assert result.facts["stages"] == ["bqpo", "e2e-oqp"]
    linear = [row for row in result.layers if row.kind == "group-sparse-quant"]
    assert all(row.sparsity > 0.2 for row in linear)
    with pytest.raises(ArgumentError, match="no tokens"):
        gqsa(tiny_llama(), np.empty((0, 32), np.int64))
    with pytest.raises(ArgumentError, match="no tokens"):
        gqsa(tiny_llama(), [])
    with pytest.raises(ArgumentError, match="equal length"):
        gqsa(tiny_llama(), [np.arange(4), np.arange(5)])
    with pytest.raises(ArgumentError, match="held_out=16"):
        gqsa(tiny_llama(), ids[:10])
    with pytest.raises(ArgumentError, match="sparsity"):
        GQSAConfig(sparsity=1.0)
    with pytest.raises(ArgumentError, match="bits"):
        GQSAConfig(bits=5)
    broken = tiny_llama()
    broken.model.layers[1].mlp.up_proj.weight[0, 0] = np.nan
    with pytest.raises(ArgumentError, match=r"model\.layers\.1\.mlp\.up_proj"):
        gqsa(broken, ids, config=config())
    with pytest.warns(UserWarning, match="fewer than"):
        gqsa(tiny_llama(), ids[:5, :8], config=config(stages=("bqpo",)), out=tmp_path / "few")


def test_recipes_say_which_stages_and_refuse_what_they_do_not_know(tokens):
    chosen = recipe()
    assert Recipe.from_config(tomllib.loads(chosen.to_toml())) == chosen
    assert replace(chosen, stages=()).hash != chosen.hash
    table = {"name": "x", "default": {"structure": SPARSE}, "calibration": {"held_out": 2}}
    for bad, words in (
        ({"stages": ["bqop"]}, "bqpo"),
        ({"stages": ["e2e-oqp", "bqpo"]}, "order"),
        ({"stages": "bqpo"}, "list"),
        ({"training": {"epoch": 1}}, "epochs"),
        ({"training": {"weight_rates": []}}, "learning rate"),
        ({"training": {"init": "zeros"}}, "init"),
        ({"stages": ["bqpo"], "calibration": {"stream": "base", "held_out": 1}}, "compressed"),
        ({"stages": ["bqpo"], "calibration": {}}, "held_out"),
    ):
        with pytest.raises(ArgumentError, match=words):
            Recipe.from_config({**table, **bad})
    for rate in (20, 30, 40, 50):
        trained, oneshot = load_recipe(f"gqsa-w4s{rate}"), load_recipe(f"gqsa-w4s{rate}-oneshot")
        assert trained.stages == ("bqpo", "e2e-oqp")
        assert oneshot.stages == ()
        assert trained.default.structure == oneshot.default.structure
        assert trained.default.structure.density == pytest.approx(1 - rate / 100)
    with pytest.raises(ArgumentError, match="trains"):
        tradeoff(tiny_llama(), [chosen], tokens, tokens)


def test_the_loop_lowers_what_it_is_given_along_its_schedule():
    factors = [cosine(step, 20, warmup=0.1) for step in range(20)]
    assert factors[0] == 0.5
    assert factors[1] == factors[2] == 1
    assert factors[-1] == pytest.approx(0.05)
    assert all(a > b for a, b in itertools.pairwise(factors[2:]))
    a, b = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    descent = Descent([([a], 0.1), ([b], 0.0)], 50, clip=1.0, least=[(a, torch.tensor(0.5))])
    for _ in range(50):
        descent.step([lambda: (a**2).sum() / 2, lambda: (b**2).sum() / 2])
    torch.testing.assert_close(a.detach(), torch.full((3,), 0.5))
    torch.testing.assert_close(b.detach(), torch.ones(3))
    steps = order(10, 4, 5, seed=3)
    assert [len(step) for step in steps] == [4] * 5
    taken = [window for step in steps for window in step]
    assert sorted(taken[:10]) == list(range(10)), "every window once before any comes again"
    assert steps == order(10, 4, 5, seed=3) != order(10, 4, 5, seed=4)


def test_nm_patterns_survive_training(tokens):
    model = tiny_llama()
    source = load_model(model)
    family = NMQuant(2, 4, bits=4, group=16)
    matrices = {p: family.project(layer.weight.numpy()) for p, layer in source.linears().items()}
    tuned = e2e_oqp(model, tokens[:640].reshape(20, 32), config(), matrices=matrices)
    for path, A in tuned.items():
        kept = (A.to_dense().reshape(A.shape[0], -1, 4) != 0).sum(axis=2)
        assert kept.max() <= 2
        np.testing.assert_array_equal(A.factors["positions"], matrices[path].factors["positions"])
