"""Streams for the dictionary: a known basis, blocks of photographs, days of temperatures; and how well few codes do."""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
import scipy.fft
from sklearn.datasets import load_sample_images

from gossamer.datasets.locate import package_directory


def known(n: int, theta: float, seed: int) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
    """A random orthonormal basis (rows) and a source of Bernoulli-Gaussian samples."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]

    def draw(count: int) -> np.ndarray:
        codes = rng.standard_normal((count, n)) * (rng.random((count, n)) < theta)
        return codes @ basis

    return basis, draw


def image_blocks(each: int = 34_000, held: int = 8000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """8 x 8 blocks of two grey photographs in [0, 255], mean removed, in random order: to learn from, and held out.

    The lower fifth of each photograph is held out.
    """
    rng = np.random.default_rng(seed)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for picture in load_sample_images().images:
        grey = picture.astype(np.float64) @ (0.299, 0.587, 0.114)
        cut = int(0.8 * len(grey))
        for region, count, out in ((grey[:cut], each, parts[0]), (grey[cut:], held // 2, parts[1])):
            windows = np.lib.stride_tricks.sliding_window_view(region, (8, 8))
            i, j = (rng.integers(length, size=count) for length in windows.shape[:2])
            out.append(windows[i, j].reshape(count, 64))
    train, test = (np.concatenate(part) for part in parts)
    train, test = (block - block.mean(axis=1, keepdims=True) for block in (train, test))
    return train[rng.permutation(len(train))], test


def temperature_days() -> tuple[np.ndarray, np.ndarray]:
    """Days of hourly temperatures of two cities, daily mean removed: to learn from, and every fifth day held out."""
    days = []
    for city in ("seattle", "sf"):
        path = package_directory("vega_datasets", "hourly temperatures") / "_data" / f"{city}-temps.csv"
        with open(path, newline="") as file:
            values = np.array([float(row["temp"]) for row in csv.DictReader(file)])
        days.append(values[: len(values) // 24 * 24].reshape(-1, 24))
    table = np.concatenate(days)
    table = table - table.mean(axis=1, keepdims=True)
    held = np.arange(len(table)) % 5 == 4
    return table[~held], table[held]


def dct(side: int, two: bool) -> np.ndarray:
    """Cosine basis in rows, of length ``side``, or of ``side x side`` blocks."""
    one = scipy.fft.dct(np.eye(side), norm="ortho", axis=0)
    return np.kron(one, one) if two else one


def principal(X: np.ndarray) -> np.ndarray:
    """Principal axes in rows."""
    return np.linalg.svd(X, full_matrices=True)[2] if len(X) < 5000 else np.linalg.eigh(X.T @ X)[1].T[::-1]


def residual(basis: np.ndarray, X: np.ndarray, k: int) -> float:
    """Share of the energy that the k largest codes of each sample leave."""
    squares = np.sort((X @ basis.T) ** 2, axis=1)[:, ::-1]
    return float(1 - squares[:, :k].sum() / (X**2).sum())


def psnr(share: float, X: np.ndarray) -> float:
    """In dB of 255, of blocks whose residual has this share of the energy."""
    return float(10 * np.log10(255**2 / (share * np.mean(X**2))))
