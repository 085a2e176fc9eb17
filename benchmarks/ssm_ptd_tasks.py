"""Networks that read digits pixel by pixel, and what single-mode noise does to them; trained once, then kept.

``python -m benchmarks.ssm_ptd_tasks LAYER SEED`` trains one network; the benchmark trains what is still missing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from gossamer._core.files import read_json, write_json
from gossamer.nn import SequenceClassifier, fourier_attack, spike_frequency, ssm_param_groups

KEPT = Path(tempfile.gettempdir()) / "gossamer-ssm-ptd"
LENGTH, EPOCHS, BATCH, SEEDS = 64, 30, 64, (0, 1, 2)
LAYERS = {
    "s4d": ("s4d", {"d_state": 64, "dt_min": 1 / 64, "dt_max": 1 / 64}),
    "s4-ptd": ("s4-ptd", {"d_state": 64, "rel": 0.01, "dt_min": 1 / 64, "dt_max": 1 / 64}),
    "s5": ("s5", {"d_state": 64, "blocks": 1}),
    "s5-ptd": ("s5-ptd", {"d_state": 64, "blocks": 1, "rel": 0.01}),
}
SPIKE = spike_frequency(64, 1 / 64, LENGTH)
"""Where S4D-LegS of 64 states and steps of 1/64 has its spike."""
AMPLITUDES = (0.1, 0.3, 1.0)
"""Root mean square of the noise, relative to the deviation of the pixels."""


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """scikit-learn's digits as sequences of 64 pixels of unit deviation, 70/30, seed 0."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    pixels = torch.from_numpy(x.astype(np.float32))[..., None]
    pixels = (pixels - pixels.mean()) / pixels.std()
    x, xt, y, yt = train_test_split(pixels.numpy(), y, test_size=0.3, random_state=0)
    return tuple(torch.from_numpy(part) for part in (x, y, xt, yt))  # type: ignore[return-value]


def train(layer: str, seed: int) -> Any:
    """Two blocks of 32 channels; AdamW with a smaller rate for the dynamics, and a cosine."""
    name, options = LAYERS[layer]
    torch.manual_seed(seed)
    net = SequenceClassifier(1, 10, d_model=32, n_layers=2, layer=name, dropout=0.1, **options)
    x, y, _, _ = digits()
    optimizer = torch.optim.AdamW(ssm_param_groups(net, lr=1e-2, ssm_lr=2e-3, weight_decay=0.01))
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], steps
    )
    for _ in range(EPOCHS):
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


def record(layer: str, seed: int) -> dict[str, Any]:
    """Clean accuracy, and that under one Fourier mode, whole ones and that of the spike, of each amplitude."""
    path = KEPT / f"{layer}-{seed}-{EPOCHS}.json"
    if path.exists():
        return read_json(path)
    net = train(layer, seed)
    _, _, x, y = digits()
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * np.pi * torch.rand(len(x), generator=generator)
    frequencies = [*range(1, LENGTH // 2), SPIKE]
    some = slice(0, 270)  # the sweep looks at half of the test images
    attacked = {}
    for amplitude in AMPLITUDES:
        attacked[str(amplitude)] = [
            accuracy(net, fourier_attack(x[some], f, amplitude * 2**0.5, phase[some]), y[some])
            for f in frequencies
        ]
    result = {
        "clean": accuracy(net, x, y),
        "clean_some": accuracy(net, x[some], y[some]),
        "frequencies": frequencies,
        "attacked": attacked,
    }
    write_json(path, result)
    return result


if __name__ == "__main__":
    print(record(sys.argv[1], int(sys.argv[2]))["clean"])
