"""Networks that read digits pixel by pixel, and what single-mode noise does to them; trained once, then kept.

``python -m benchmarks.ssm_ptd_tasks TASK LAYER SEED`` trains one network; the benchmark trains what is still missing.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gossamer._core.files import read_json, write_json
from gossamer.datasets.locate import data_file
from gossamer.nn import SequenceClassifier, fourier_attack, spike_frequency, ssm_param_groups

KEPT = Path(tempfile.gettempdir()) / "gossamer-ssm-ptd"
BATCH, SEEDS = 64, (0, 1, 2)
AMPLITUDES = (0.1, 0.3, 1.0)
"""Root mean square of the noise, relative to the deviation of the pixels."""
Split = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Task:
    """Sequences with labels, to train on and to test on, and for how long."""

    length: int
    epochs: int
    load: Callable[[], Split]
    attacked: int
    """Test sequences that a sweep over frequencies looks at."""

    @property
    def spike(self) -> float:
        """Where S4D-LegS of 64 states has its spike, with steps such that a state remembers one sequence."""
        return spike_frequency(64, 1 / self.length, self.length)

    @property
    def frequencies(self) -> list[float]:
        """Whole modes, at most 31 of them, and the spike."""
        return [*range(1, self.length // 2, self.length // 64), self.spike]

    def layers(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """S4D and S4-PTD have one step for all channels, so that all channels of S4D share a spike."""
        step = {"dt_min": 1 / self.length, "dt_max": 1 / self.length}
        return {
            "s4d": ("s4d", {"d_state": 64, **step}),
            "s4-ptd": ("s4-ptd", {"d_state": 64, "rel": 0.01, **step}),
            "s5": ("s5", {"d_state": 64, "blocks": 1}),
            "s5-ptd": ("s5-ptd", {"d_state": 64, "blocks": 1, "rel": 0.01}),
        }


def digits() -> Split:
    """scikit-learn's digits as sequences of 64 pixels of unit deviation, 70/30, seed 0."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, xt, y, yt = train_test_split(_standard(x), y, test_size=0.3, random_state=0)
    return tuple(torch.from_numpy(part) for part in (x, y, xt, yt))  # type: ignore[return-value]


def mnist() -> Split:
    """The 10,000 test images of MNIST, 28 x 28 averaged to 16 x 16, as sequences of 256 pixels, 80/20, seed 0."""
    names = (f"mnist-t10k/t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    raw = [gzip.decompress(data_file(name, "MNIST").read_bytes()) for name in names]
    images = torch.from_numpy(
        np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32)
    )
    labels = torch.from_numpy(np.frombuffer(raw[1], np.uint8, offset=8).astype(np.int64))
    pixels = torch.from_numpy(_standard(F.adaptive_avg_pool2d(images, 16).flatten(1).numpy()))
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    train, test = order[:8000], order[8000:]
    return pixels[train], labels[train], pixels[test], labels[test]


def _standard(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.astype(np.float32)[..., None]
    return (pixels - pixels.mean()) / pixels.std()


TASKS = {"digits": Task(64, 30, digits, 270), "mnist": Task(256, 4, mnist, 500)}


def train(task: str, layer: str, seed: int) -> Any:
    """Two blocks of 32 channels; AdamW with a smaller rate for the dynamics, and a cosine."""
    name, options = TASKS[task].layers()[layer]
    torch.manual_seed(seed)
    net = SequenceClassifier(1, 10, d_model=32, n_layers=2, layer=name, dropout=0.1, **options)
    x, y, _, _ = TASKS[task].load()
    optimizer = torch.optim.AdamW(ssm_param_groups(net, lr=1e-2, ssm_lr=2e-3, weight_decay=0.01))
    epochs = TASKS[task].epochs
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], steps
    )
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: Any, x: torch.Tensor, y: torch.Tensor) -> float:
    """In percent."""
    found = torch.cat([net(part).argmax(1) for part in x.split(256)])
    return 100 * float((found == y).float().mean())


def record(task: str, layer: str, seed: int) -> dict[str, Any]:
    """Clean accuracy, and that under one Fourier mode, whole ones and that of the spike, of each amplitude."""
    own = TASKS[task]
    path = KEPT / f"{task}-{layer}-{seed}-{own.epochs}.json"
    if path.exists():
        return read_json(path)
    net = train(task, layer, seed)
    _, _, x, y = own.load()
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * np.pi * torch.rand(len(x), generator=generator)
    some = slice(0, own.attacked)
    attacked = {}
    for amplitude in AMPLITUDES:
        attacked[str(amplitude)] = [
            accuracy(net, fourier_attack(x[some], f, amplitude * 2**0.5, phase[some]), y[some])
            for f in own.frequencies
        ]
    result = {
        "clean": accuracy(net, x, y),
        "clean_some": accuracy(net, x[some], y[some]),
        "frequencies": own.frequencies,
        "attacked": attacked,
    }
    write_json(path, result)
    return result


if __name__ == "__main__":
    print(record(sys.argv[1], sys.argv[2], int(sys.argv[3])))
