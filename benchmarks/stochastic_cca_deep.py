"""Networks and pictures for the deep parts: halves of digits, crops and small rotations, a linear probe."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from gossamer.datasets.locate import data_file
from gossamer.nn import DeepCCA


def digits() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 10,000 test pictures, (n, 28, 28) in [0, 255], and their labels."""
    folder, what = "mnist-t10k", "the MNIST test set"
    images = gzip.decompress(data_file(f"{folder}/t10k-images-idx3-ubyte.gz", what).read_bytes())[16:]
    labels = gzip.decompress(data_file(f"{folder}/t10k-labels-idx1-ubyte.gz", what).read_bytes())[8:]
    return np.frombuffer(images, np.uint8).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8)


def halves(count: int = 10_000) -> list[np.ndarray]:
    """Left and right halves of pictures, centred by and scaled to those that are trained on: the first 8,000."""
    pictures = digits()[0][:count].astype(np.float64)
    views = []
    for part in (pictures[:, :, :14], pictures[:, :, 14:]):
        flat = part.reshape(len(part), -1)
        flat = flat - flat[:8000].mean(axis=0)
        views.append((flat / flat[:8000].std()).astype(np.float32))
    return views


def deep_fit(loss: Any, size: int, seed: int, epochs: int = 10) -> float:
    """Held-out total correlation of 392-256-256-20 encoders."""
    torch.manual_seed(seed)
    views = [torch.from_numpy(v) for v in halves()]

    def encoder() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(392, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(),
            torch.nn.Linear(256, 20),
        )  # fmt: skip

    model = DeepCCA([encoder(), encoder()], loss)
    model.fit([v[:8000] for v in views], epochs=epochs, batch_size=size, rate=1e-3, seed=seed)
    return model.score([v[8000:] for v in views])


class SmallCNN(torch.nn.Module):
    """Two strided convolutions and a linear layer; a projector on top while it learns."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 5, 2, 2), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.Flatten(),
            torch.nn.Linear(32 * 49, 128), torch.nn.BatchNorm1d(128), torch.nn.ReLU(),
        )  # fmt: skip
        self.projector = torch.nn.Linear(128, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Representations (m, width)."""
        return self.projector(self.body(x))


def augmented(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A random crop, zoomed back, under a small rotation."""
    n = len(x)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=rng)

    angle, zoom = uniform(-0.35, 0.35), uniform(0.7, 1.0)
    theta = torch.stack(
        [
            torch.stack([zoom * angle.cos(), -zoom * angle.sin(), uniform(-0.2, 0.2)], 1),
            torch.stack([zoom * angle.sin(), zoom * angle.cos(), uniform(-0.2, 0.2)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def probe_after(loss: Any, seed: int, epochs: int = 5, size: int = 250) -> float:
    """Accuracy of a linear probe on the last 2,000 digits after self-supervised epochs on the first 8,000."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    pictures, labels = digits()
    x = torch.from_numpy(pictures.astype(np.float32))[:, None] / 255
    model = SmallCNN()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(8000, generator=rng).split(size):
            z, z2 = model(augmented(x[rows], rng)), model(augmented(x[rows], rng))
            value = loss(z, z2)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        features = torch.cat([model.body(part) for part in x.split(1000)]).numpy()
    features = (features - features[:8000].mean(0)) / (features[:8000].std(0) + 1e-6)
    probe = LogisticRegression(max_iter=100, C=0.1).fit(features[:8000], labels[:8000])
    return float(probe.score(features[8000:], labels[8000:]))
