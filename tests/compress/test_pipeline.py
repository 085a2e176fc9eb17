"""The whole way through: blocks, artifacts, resumption after every kind of death, budgets."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from tests.compress.tiny import recipe_of, tiny_bert, tiny_llama, torch

import gossamer.compress.work as work_module
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.compress import Recipe, compress, load_model, load_recipe, perplexity
from gossamer.compress.allocate.budget import upper_bound
from gossamer.compress.work import DiskFullError
from gossamer.engine.artifact import load_artifact

W4 = {"kind": "group-quant", "bits": 4, "group": 32}
NM = {"kind": "nm", "n": 2, "m": 4}
FILES = ("model.safetensors", "gossamer.json", "config.json")


def _bytes(path):
    return [(path / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("tied", [True, False])
def test_the_artifact_is_the_compressed_model(tokens, tmp_path, tied):
    model = tiny_llama(tied=tied)
    result = compress(
        model, recipe_of(W4), tokens, out=tmp_path / "out", evaluate=tokens, window=32, windows=4, seed=1
    )
    artifact = load_artifact(tmp_path / "out")
    dense = tiny_llama(seed=9, tied=tied)
    state = {name: torch.from_numpy(np.array(array)) for name, array in artifact.dense().items()}
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    dense.load_state_dict(state, strict=True)
    assert result.perplexity == pytest.approx(perplexity(dense, tokens, 32, 4), rel=1e-5)
    assert result.base_perplexity == pytest.approx(perplexity(model, tokens, 32, 4), rel=1e-6)
    assert result.nbytes == artifact.nbytes < result.base_nbytes / 4
    assert result.bits_per_weight == artifact.bits_per_weight == pytest.approx(4.625)
    assert [row.module for row in result.layers[:21]] == list(load_model(model).linears())
    assert not (tmp_path / "out.work").exists()
    assert load_recipe(tmp_path / "out" / "recipe.toml").hash == recipe_of(W4).hash


def test_the_model_itself_is_not_touched(llama, tokens, tmp_path):
    before = {name: tensor.clone() for name, tensor in llama.state_dict().items()}
    compress(llama, recipe_of(NM), tokens, out=tmp_path / "out", evaluate=tokens, window=32, windows=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in llama.state_dict().items())


def test_bert_compresses_end_to_end(tokens, tmp_path):
    result = compress(tiny_bert(pooled=True), recipe_of(W4), tokens, out=tmp_path / "out")
    artifact = load_artifact(tmp_path / "out")
    assert artifact.kind == result.kind == "bert"
    assert "pooler.dense" in artifact.matrices
    assert artifact.matrices["embeddings.word_embeddings"].bits_per_weight == pytest.approx(8.25)


def test_any_module_compresses_layer_by_layer(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
    x = torch.randn(200, 32)
    source = load_model(model, example_inputs=x)
    result = compress(source, recipe_of(W4), out=tmp_path / "out")
    artifact = load_artifact(tmp_path / "out")
    assert artifact.kind == "module"
    model.requires_grad_(False)
    hidden = torch.relu(x @ torch.from_numpy(artifact.weight("0")).T + model[0].bias)
    y = hidden @ torch.from_numpy(artifact.weight("2")).T + model[2].bias
    assert ((y - model(x)).square().mean() / model(x).square().mean()).item() < 0.02
    assert result.layers[0].error < 0.01
    with pytest.raises(ArgumentError, match="saw no input"):
        compress(load_model(_Partial(), example_inputs=x), recipe_of(W4, pad=True), out=tmp_path / "other")


class _Partial(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = torch.nn.Linear(32, 8), torch.nn.Linear(32, 8)

    def forward(self, x):
        return self.used(x)


def test_weight_only_recipes_need_no_text_and_others_do(llama, tmp_path):
    result = compress(llama, recipe_of(W4, metric="none"), out=tmp_path / "out")
    assert 0 < result.layers[0].error < 0.02
    with pytest.raises(ArgumentError, match="needs a text"):
        compress(llama, recipe_of(W4), out=tmp_path / "other")


def test_error_compensation_lowers_the_output_error_of_every_family(tokens, tmp_path):
    model = tiny_llama(layers=1)
    for structure in (W4 | {"bits": 2}, NM, {"kind": "unstructured", "density": 0.5}):
        errors = {}
        for metric in ("none", "hessian"):
            out = tmp_path / f"{structure['kind']}-{metric}"
            result = compress(model, recipe_of(structure, metric=metric, windows=32), tokens, out=out)
            errors[metric] = np.mean([row.error for row in result.layers[:7]])
        assert errors["hessian"] < errors["none"], structure


def test_a_low_rank_term_makes_up_for_a_part(llama, tokens, tmp_path):
    plain = compress(llama, recipe_of(NM), tokens, out=tmp_path / "plain")
    rank = {"kind": "low-rank", "rank": 8}
    mended = compress(llama, recipe_of(NM, compensate=rank), tokens, out=tmp_path / "mended")
    assert all(b.error < a.error for a, b in zip(plain.layers[:7], mended.layers[:7]))
    assert load_artifact(tmp_path / "mended").matrices["model.layers.0.mlp.up_proj"].structure.kind == "sum"


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_run_that_died_after_any_block_goes_on_to_the_same_bytes(llama, tokens, tmp_path, after):
    arguments = {"evaluate": tokens, "window": 32, "windows": 2, "seed": 4}
    compress(llama, recipe_of(NM), tokens, out=tmp_path / "whole", **arguments)

    def die(progress):
        if progress.stage == "compress" and progress.done == after:
            raise _Killed

    with pytest.raises(_Killed):
        compress(llama, recipe_of(NM), tokens, out=tmp_path / "out", progress=die, **arguments)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ArgumentError, match="unfinished run"):
        compress(llama, recipe_of(NM), tokens, out=tmp_path / "out", **arguments)
    result = compress(llama, recipe_of(NM), tokens, out=tmp_path / "out", resume=True, **arguments)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "whole")
    assert result.perplexity is not None


def test_a_killed_process_goes_on_to_the_same_bytes(tokens, tmp_path):
    np.save(tmp_path / "tokens.npy", tokens)
    script = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from gossamer.compress import compress
        from tests.compress.tiny import recipe_of, tiny_llama, torch

        torch.set_num_threads(1)
        out, folder, mode = sys.argv[1:]

        def die(progress):
            if mode == "kill" and progress.stage == "compress" and progress.done == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        recipe = recipe_of({"kind": "group-quant", "bits": 4, "group": 32})
        tokens = np.load(folder + "/tokens.npy")
        compress(tiny_llama(), recipe, tokens, out=out, progress=die, resume=mode == "resume")
        """
    )

    def run(out, mode):
        command = [sys.executable, "-c", script, str(tmp_path / out), str(tmp_path), mode]
        paths = [os.getcwd(), *filter(None, sys.path)]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, timeout=120
        ).returncode

    assert run("killed", "kill") == -signal.SIGKILL
    assert (tmp_path / "killed.work" / "block-001.safetensors").exists()
    assert run("killed", "resume") == 0
    compress(tiny_llama(), recipe_of(W4), tokens, out=tmp_path / "whole")
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "whole")


def test_a_full_disk_loses_nothing(llama, tokens, tmp_path, monkeypatch):
    compress(llama, recipe_of(NM), tokens, out=tmp_path / "whole")
    save = work_module.save_fitted

    def full(path, fitted):
        if "block-001" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, fitted)

    monkeypatch.setattr(work_module, "save_fitted", full)
    with pytest.raises(DiskFullError, match="what is finished is kept"):
        compress(llama, recipe_of(NM), tokens, out=tmp_path / "out")
    monkeypatch.undo()
    assert (tmp_path / "out.work" / "block-000.safetensors").exists()
    monkeypatch.setattr("gossamer.compress.pipeline.save_artifact", _no_space)
    with pytest.raises(DiskFullError):
        compress(llama, recipe_of(NM), tokens, out=tmp_path / "out", resume=True)
    monkeypatch.undo()
    compress(llama, recipe_of(NM), tokens, out=tmp_path / "out", resume=True)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "whole")


def _no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_resuming_with_another_model_recipe_text_or_seed_is_refused(llama, tokens, tmp_path):
    def die(progress):
        if progress.stage == "compress" and progress.done == 1:
            raise _Killed

    out = tmp_path / "out"
    with pytest.raises(_Killed):
        compress(llama, recipe_of(NM), tokens, out=out, progress=die)
    for what, arguments in {
        "model": (tiny_llama(seed=5), recipe_of(NM), tokens),
        "recipe": (llama, recipe_of(NM, metric="none"), tokens),
        "calibration": (llama, recipe_of(NM), tokens[100:]),
    }.items():
        with pytest.raises(ArgumentError, match=f"another {what}"):
            compress(*arguments, out=out, resume=True)
    with pytest.raises(ArgumentError, match="another seed"):
        compress(llama, recipe_of(NM), tokens, out=out, resume=True, seed=1)
    block = tmp_path / "out.work" / "block-000.safetensors"
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(FormatError, match="block-000"):
        compress(llama, recipe_of(NM), tokens, out=out, resume=True)


def test_an_existing_directory_is_not_overwritten_by_accident(llama, tmp_path):
    recipe = recipe_of(W4, metric="none")
    compress(llama, recipe, out=tmp_path / "out")
    with pytest.raises(ArgumentError, match="overwrite=True"):
        compress(llama, recipe, out=tmp_path / "out")
    compress(llama, recipe, out=tmp_path / "out", overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(ArgumentError, match="is no artifact"):
        compress(llama, recipe, out=tmp_path / "other", overwrite=True)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        ({"structure": {**W4, "group": 48}}, ShapeError, "48 does not divide its 64 columns"),
        ({"windows": 1000}, ArgumentError, "has 4000 tokens, and 1000 windows of 32 need 32000"),
        ({"length": 1000, "windows": 40}, ArgumentError, "40 windows of 128 need 5120"),
        ({"compensate": {"kind": "low-rank", "rank": 65}}, ShapeError, "rank 65"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(llama, tokens, tmp_path, spoil, error, words):
    arguments = {"structure": W4, **spoil}
    with pytest.raises(error, match=words):
        compress(llama, recipe_of(**arguments), tokens, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def _options(**changes):
    bits = {"w8": 8, "w4": 4, "w3": 3, "w2": 2}
    options = [
        {"name": name, "metric": "none" if b == 8 else "hessian", "structure": {**W4, "bits": b}}
        for name, b in bits.items()
    ]
    return Recipe.from_config(
        {
            "name": "options",
            "head": "auto",
            "calibration": {"windows": 16, "length": 32, "held_out": 8, "stream": "base"},
            "option": options,
            **changes,
        }
    )


def test_a_budget_in_bytes_is_kept_and_its_recipe_gives_the_same_artifact(llama, tokens, tmp_path):
    result = compress(llama, _options(), tokens, out=tmp_path / "out", target_size="70kB")
    assert 60_000 < result.nbytes <= 70_000
    assert result.success
    assert result.allocation["nbytes"] == result.nbytes
    assert sum(result.allocation["layers_by_option"].values()) == 21
    again = compress(llama, tmp_path / "out" / "recipe.toml", tokens, out=tmp_path / "again")
    first, second = (load_artifact(tmp_path / name) for name in ("out", "again"))
    assert again.nbytes == result.nbytes
    assert all(np.array_equal(first.weight(p), second.weight(p)) for p in first.matrices)


def test_an_allocation_that_died_goes_on_to_the_same_bytes(llama, tokens, tmp_path):
    compress(llama, _options(), tokens, out=tmp_path / "whole", target_size=70_000)
    for stage, done in (("statistics", 2), ("predict", 1), ("allocate", 2), ("compress", 1)):

        def die(progress, stage=stage, done=done):
            if (progress.stage, progress.done) == (stage, done):
                raise _Killed

        with pytest.raises(_Killed):
            compress(
                llama,
                _options(),
                tokens,
                out=tmp_path / "out",
                target_size=70_000,
                progress=die,
                resume=stage != "statistics",
            )
    compress(llama, _options(), tokens, out=tmp_path / "out", target_size=70_000, resume=True)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "whole")


def test_a_budget_in_quality_holds_as_measured(llama, tokens, tmp_path):
    result = compress(llama, _options(), tokens, out=tmp_path / "out", max_loss="2%")
    assert result.allocation["measured"] <= result.allocation["bound"] <= 0.02
    assert result.success
    assert "8 held-out windows, with 95% confidence at most" in result.message


def test_the_bound_of_a_loss_is_that_of_the_t_test():
    rise = np.random.default_rng(0).normal(0.08, 0.05, 16)
    interval = ttest_1samp(rise, 0.0, alternative="less").confidence_interval(0.95)
    assert upper_bound(rise) == pytest.approx(interval.high, rel=1e-12)
    assert upper_bound(rise[:1]) == rise[0]


def test_budgets_that_cannot_be_met_say_how_far_the_options_go(llama, tokens, bert, tmp_path):
    with pytest.raises(ArgumentError, match=r"target_size=20000.*need at least \d+ bytes"):
        compress(llama, _options(), tokens, out=tmp_path / "a", target_size=20_000)
    with pytest.raises(ArgumentError, match=r"no .*option.* to choose from"):
        compress(llama, recipe_of(W4), tokens, out=tmp_path / "b", max_loss="5%")
    with pytest.raises(ArgumentError, match="give target_size or max_loss"):
        compress(llama, _options(), tokens, out=tmp_path / "c")
    with pytest.raises(UnsupportedError, match="decoders"):
        compress(bert, _options(), tokens, out=tmp_path / "d", max_loss="5%")
