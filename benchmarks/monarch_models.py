"""Models for the Monarch benchmark: a digits transformer trained here, and all-MiniLM-L6-v2."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.encoder_models import _folder, batches, sentences, torch_model
from benchmarks.harness import Claim, compare, read_results
from benchmarks.harness.record import RESULTS

GQSA = "GQSA one-shot: W4, half of the groups of 16 pruned, rank 32"
PAPER_GLUE = "GLUE fine-tuning of BERT-base 1.7x faster, average 78.6 to 78.3"
STEPS = 80  # of training for each encoder, 16 sentences a step
STUDENTS = {
    "monarch": "Monarch(4)",
    "monarch-r32": "Monarch(4) + LowRank(32)",
    "low-rank": "low rank with as many weights as Monarch(4)",
    "fresh": "Monarch(4) from random factors",
}


class Block(torch.nn.Module):
    """Attention and an MLP of plain linear layers."""

    def __init__(self, width: int, heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width) for _ in range(2))
        self.qkv = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(3))
        self.out = torch.nn.Linear(width, width)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        h = self.norms[0](x)
        q, k, v = (part(h).reshape(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv)
        x = x + self.out(
            F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(n, t, d)
        )
        return x + self.mlp(self.norms[1](x))


class Digits(torch.nn.Module):
    """An 8 x 8 image as eight tokens, its rows."""

    def __init__(self, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.rows, self.place = torch.nn.Linear(8, width), torch.nn.Parameter(torch.randn(8, width) / 10)
        self.blocks = torch.nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.rows(x) + self.place).mean(1)))


def _fit(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, rate: float, seed: int) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.01)
    per = math.ceil(len(x) / 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * per)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=order).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            optimizer.step()
            schedule.step()


def digits(full: bool) -> Iterator[Claim]:
    """Dense to sparse: project a trained transformer and fine-tune it; the same from random factors."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from gossamer.nn import monarchize

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images.astype(np.float32).reshape(-1, 8, 8) / 16, labels, test_size=0.3, random_state=0
    )
    x, xt, y, yt = (torch.from_numpy(part) for part in parts)

    def accuracy(net: torch.nn.Module) -> float:
        with torch.no_grad():
            return 100 * float((net(xt).argmax(1) == yt).float().mean())

    scores: dict[str, list[float]] = {
        "dense": [],
        "projected": [],
        "projected, tuned": [],
        "random, tuned": [],
    }
    torch.set_num_threads(2)
    for seed in range(1):
        torch.manual_seed(seed)
        dense = Digits()
        _fit(dense, x, y, 6, 1e-3, seed)
        scores["dense"].append(accuracy(dense))
        for method, label in (("project", "projected, tuned"), ("fresh", "random, tuned")):
            net, report = monarchize(copy.deepcopy(dense), 4, method=method)
            if method == "project":
                scores["projected"].append(accuracy(net))
            _fit(net, x, y, 2, 5e-4, seed)
            scores[label].append(accuracy(net))
    mean = {name: float(np.mean(values)) for name, values in scores.items()}
    note = "; ".join(f"{name} {value:.2f} %" for name, value in mean.items())
    note += (
        f"; {report.parameters[1] / report.parameters[0]:.2f} of the parameters; 6 epochs, then 2; one seed"
    )
    spread = {"kind": "seeds", "values": scores}
    behind, ahead = mean["dense"] - mean["projected, tuned"], mean["projected, tuned"] - mean["random, tuned"]
    yield Claim("Points behind the dense digits transformer, projected on 4 blocks and tuned", "<= 1.0", behind,
                "points", spread=spread, paper=PAPER_GLUE, note=note)  # fmt: skip
    yield Claim("Points that tuning from random factors stays behind tuning from the projection", ">= 3.0", ahead,
                "points", spread=spread, note=note)  # fmt: skip


def tokens(texts: list[str]) -> list[list[int]]:
    """Token ids by the model's own tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    return [one.ids for one in tokenizer.encode_batch(texts)]


def _states(model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
    ids, mask = (torch.from_numpy(part) for part in batch)
    return model.bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[1:]


def training_sentences() -> list[str]:
    """Sentences to tune on: the addresses before 1990, of which the test sentences hold none."""
    from gossamer.datasets import load_sotu
    from gossamer.datasets.sentence_pairs import split_sentences

    found = list(dict.fromkeys(split_sentences(load_sotu("calibrate"))))
    held = set(sentences(400))
    return [text for text in found if text not in held]


def second_moments(model: Any, data: list[Any]) -> dict[str, np.ndarray]:
    """Second moment of the inputs of every linear layer of the encoder, by name."""
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def note(name: str, module: Any, inputs: Any) -> None:
        rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        sums[name] = sums.get(name, torch.zeros(rows.shape[1], rows.shape[1])) + rows.T @ rows
        counts[name] = counts.get(name, 0) + len(rows)

    hooks = [m.register_forward_pre_hook(partial(note, name)) for name, m in model.named_modules()
             if isinstance(m, torch.nn.Linear)]  # fmt: skip
    with torch.no_grad():
        for batch in data:
            _states(model, batch)
    for hook in hooks:
        hook.remove()
    return {name: (total / counts[name]).numpy() for name, total in sums.items()}


def student(kind: str, data: list[Any]) -> Any:
    """The encoder with structured layers, projected in the metric of their inputs or with random factors."""
    from gossamer.linalg import LowRank, Monarch
    from gossamer.nn import monarchize, replace_linears

    teacher = torch_model("float32")
    model = copy.deepcopy(teacher)
    metrics = {} if kind == "fresh" else second_moments(teacher, data[:6])
    if kind == "fresh":
        return monarchize(model, 4, exclude=("*pooler*",), method="fresh")[0]

    def fitted(name: str, linear: torch.nn.Linear) -> Any:
        if "encoder.layer" not in name:
            return None
        shape = (linear.out_features, linear.in_features)
        k, q, p, l, s, r = Monarch(4).sizes(shape)
        families = {
            "monarch": Monarch(4, sweeps=1),
            "monarch-r32": Monarch(4, sweeps=1) + LowRank(32),
            "low-rank": LowRank((k * q * p + l * s * r) // sum(shape)),
        }
        return families[kind].project(linear.weight.detach(), metrics[name])

    return replace_linears(model, fitted)


def weights(model: Any) -> int:
    """Numbers in the encoder's layers, embeddings left out."""
    return sum(p.numel() for name, p in model.named_parameters() if "encoder.layer" in name)


def distil(model: Any, data: list[Any], steps: int = STEPS) -> None:
    """Bring the hidden states of all layers back to the teacher's."""
    teacher = torch_model("float32")
    parameters = [p for name, p in model.named_parameters() if "encoder.layer" in name]
    optimizer = torch.optim.AdamW(parameters, 1e-3, weight_decay=0.0)
    rng = np.random.default_rng(0)
    model.train(False)  # without dropout: the teacher has none
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 10) * (1 - step / steps)
        batch = data[int(rng.integers(len(data)))]
        with torch.no_grad():
            wanted = _states(teacher, batch)
        keep = torch.from_numpy(batch[1]).bool()
        found = _states(model, batch)
        loss = sum(
            ((a - b)[keep] ** 2).mean() / (b[keep] ** 2).mean() for a, b in zip(found, wanted, strict=True)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def embed(model: Any, ids: list[list[int]]) -> np.ndarray:
    """Embeddings of token sequences, in their order."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    with torch.no_grad():
        found = [model(*map(torch.from_numpy, batch)).numpy() for batch in batches(ids, 32)]
    return np.concatenate(found)[np.argsort(order)]


def measured(slug: str, *words: str) -> float:
    """What a benchmark measured on the same sentences, by words of the claim."""
    claims = read_results(RESULTS / f"{slug}.json")["claims"]
    return next(c["ours"] for c in claims if all(word in c["name"] for word in words))


def encoder_quality(kind: str, full: bool) -> Iterator[Claim]:
    """all-MiniLM-L6-v2 projected on a structure and tuned for a minute."""
    from gossamer.engine.retention import retention

    torch.set_num_threads(2)
    torch.manual_seed(0)
    data, ids = batches(tokens(training_sentences()[:3000]), 16), tokens(sentences(128))
    teacher = torch_model("float32")
    reference = embed(teacher, ids)
    model = student(kind, data)
    before = retention(reference, embed(model, ids))
    distil(model, data)
    after = retention(reference, embed(model, ids))
    name = f"Encoder in {STUDENTS[kind]}, tuned"
    note = (
        f"{after.texts} sentences; {STEPS} steps; before {before.spearman:.3f} and {before.overlap:.3f}; "
        f"{weights(model) / 1e6:.2f} of {weights(teacher) / 1e6:.2f} million weights in the layers, float32"
    )
    if kind == "low-rank":
        for what, word, found in (
            ("Spearman correlation of all cosines with the original's", "Spearman", after.spearman),
            ("nearest neighbours kept, of 10", "neighbours", after.overlap),
        ):
            own = measured("monarch", "Encoder in Monarch(4), tuned", word)
            yield Claim(f"Encoder in Monarch(4) against low rank, both tuned: {what}", ">= 1x", own, "", found,
                        STUDENTS[kind], note=f"low rank: {note}")  # fmt: skip
        return
    if kind == "fresh":
        yield Claim(f"{name}: Spearman correlation stays below", "<= 0.9", after.spearman, "",
                    note=f"{note}: the projection is what fine-tuning starts from")  # fmt: skip
        return
    yield Claim(f"{name}: Spearman correlation of all cosines with the original's", ">= 0.95", after.spearman, "",
                measured("encoder", "half of the groups", "Spearman"), GQSA, note=note)  # fmt: skip
    yield Claim(f"{name}: nearest neighbours kept, of 10", ">= 0.8", after.overlap, "share",
                measured("encoder", "half of the groups", "neighbours"), GQSA, note=note)  # fmt: skip


def encoder_speed(full: bool) -> Iterator[Claim]:
    """A fine-tuning step and an inference pass against the dense encoder in torch."""
    from gossamer._core.threads import set_threads

    torch.set_num_threads(2)
    set_threads(2)
    data = batches(tokens(sentences(128)), 32)
    batch = data[len(data) // 2]
    dense, monarch = copy.deepcopy(torch_model("float32")), student("fresh", data)

    def infer(model: Any) -> None:
        with torch.no_grad():
            _states(model, batch)

    def step(model: Any) -> None:
        model.zero_grad()
        _states(model, batch)[-1].square().mean().backward()

    shape = f"{batch[0].shape[0]} sentences padded to {batch[0].shape[1]} tokens, 2 threads"
    for name, work, target in (("inference", infer, 1.3), ("fine-tuning step", step, 1.5)):
        race = compare(partial(work, monarch), partial(work, dense), rounds=7, warmup=1)
        yield Claim.from_race(f"all-MiniLM-L6-v2 with Monarch layers of 4 blocks, {name}", f">= {target}x", race,
                              peer_name="the dense encoder, torch float32", paper=PAPER_GLUE, note=shape)  # fmt: skip


@cache
def burgers_data() -> tuple[torch.Tensor, torch.Tensor]:
    """300 initial fields and their solutions at time 1, on 128 of 1024 points."""
    from gossamer.science import burgers, burgers_fields

    fields = burgers_fields(300, 1024, random_state=0)
    solved = burgers(fields, 0.1, steps=400)  # ten times as many differ by less than float32 holds
    return tuple(torch.from_numpy(a[:, ::8].astype(np.float32)) for a in (fields, solved))


def burgers_operator(transform: str, epochs: int) -> float:
    """Train a neural operator on Burgers' equation; relative L2 error on test fields."""
    from gossamer.nn import FourierOperator1d

    u, v = burgers_data()
    torch.manual_seed(0)
    net = FourierOperator1d(128, modes=16, width=32, transform=transform)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-3)
    order = torch.Generator().manual_seed(0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(epochs // 5, 1), 0.5)
    for _ in range(epochs):
        for part in torch.randperm(200, generator=order).split(20):
            optimizer.zero_grad()
            ((net(u[part]) - v[part]).norm(dim=1) / v[part].norm(dim=1)).mean().backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float(((net(u[200:]) - v[200:]).norm(dim=1) / v[200:].norm(dim=1)).mean())


def operator(full: bool) -> Iterator[Claim]:
    """Burgers' equation learned by the Fourier neural operator, its transforms fixed or learned."""
    torch.set_num_threads(2)
    epochs = 50
    learned, fixed = burgers_operator("monarch", epochs), burgers_operator("fft", epochs)
    yield Claim("Relative L2 error of the operator with learned transforms, Burgers' equation", "<= 0.8x", learned, "",
                fixed, "the Fourier neural operator, equal epochs and seed",
                note=f"200 fields of 128 points to train on, 100 to test; {epochs} epochs, width 32, 16 modes",
                paper="error -40 % with learned transforms (PDE and MRI)")  # fmt: skip
