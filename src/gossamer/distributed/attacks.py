"""What bad workers send in place of their gradients, and what a network loses on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, is_torch, like, to_numpy, widen
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ShapeError, bad_argument

Attack = Callable[..., Sequence[np.ndarray]]
"""Called with the true gradients of the bad workers, those of the others, and a generator for each bad worker."""

_SENT, _LOST = 0, 1  # streams of random numbers: attacks, network


def attack_gradients(
    G: Any,
    attack: str | Attack,
    bad: Iterable[int],
    *,
    seed: int = 0,
    step: int = 0,
    workers: Sequence[int] | None = None,
    **options: Any,
) -> Any:
    """Return the gradients as they arrive when some workers are hostile or broken.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        True gradients; not changed.
    attack : str or callable
        - ``"random"``: uniform numbers in [0, 1), or normal ones of standard deviation ``std``;
        - ``"reverse"``: ``-factor g``, factor 10; ``"sign_flip"``: ``-g``; ``"zero"``, ``"nan"``, ``"inf"``;
        - ``"drop"``: g with coordinates set to 0 at a rate (``rate``, 0.1);
        - ``"little_is_enough"``: mean minus z standard deviations of what the bad workers themselves found (z = 0.21).
          Two or more bad workers; a single one has no deviation and sends its gradient;
        - ``"fall_of_empires"``: ``-eps`` times the mean of the honest gradients, eps 0.1;
        - or a function of (true gradients of the bad, honest gradients, random generators of the bad).
    bad : iterable of int
        Rows of G that are replaced.
    seed, step : int
        With the number of the worker they determine every random number.
    workers : sequence of int, optional
        Numbers of the p workers, where they are not 0 to p - 1 (some did not answer).
    **options
        Of the attack, see above.

    Returns
    -------
    array, tensor or list
        As G; rows of a list that are not replaced are the same objects.

    Raises
    ------
    ArgumentError
        Unknown attack, a row that does not exist, or no honest gradient for an attack that needs one.

    References
    ----------
    Baruch, Baruch, Goldberg. A little is enough: circumventing defenses for distributed learning. NeurIPS 2019. Xie,
    Koyejo, Gupta. Fall of empires: breaking Byzantine-tolerant SGD by inner product manipulation. UAI 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.distributed import attack_gradients
    >>> attack_gradients(np.ones((3, 2)), "reverse", [0]).tolist()
    [[-10.0, -10.0], [1.0, 1.0], [1.0, 1.0]]
    """
    function = attack if callable(attack) else ATTACKS[check_choice("attack", attack, ATTACKS)]
    rows, numbers = _rows(G), _numbers(G, workers)
    places = sorted({check_int("bad", i, low=0, high=len(rows) - 1) for i in bad})
    if not places:
        return _rebuilt(G, {})
    true = [rows[i] for i in places]
    honest = [row for i, row in enumerate(rows) if i not in set(places)]
    rngs = [_rng(seed, step, numbers[i], _SENT) for i in places]
    sent = function(true, honest, rngs, **options)
    return _rebuilt(G, dict(zip(places, sent, strict=True)))


def drop_packets(
    G: Any,
    rate: float = 0.1,
    *,
    packet: int = 1,
    fill: float = 0.0,
    seed: int = 0,
    step: int = 0,
    workers: Sequence[int] | None = None,
) -> Any:
    """Return the gradients as they arrive through a network that loses packets.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients; not changed.
    rate : float
        Probability that a packet is lost, for each worker on its own.
    packet : int
        Successive coordinates in one packet; an Ethernet frame holds about 360 float32 numbers.
    fill : float
        What stands for a lost number: 0, or NaN where the rule knows missing values (:func:`coordinate_median`).
    seed, step : int
        With the number of the worker they determine every random number.
    workers : sequence of int, optional
        Numbers of the p workers, where they are not 0 to p - 1.

    Returns
    -------
    array, tensor or list
        As G.

    Raises
    ------
    ArgumentError
        ``rate`` outside [0, 1], or ``packet`` below 1.
    """
    rate, packet = check_float("rate", rate, low=0, high=1), check_int("packet", packet, low=1)
    rows = _rows(G)
    arrived = {}
    for i, (row, worker) in enumerate(zip(rows, _numbers(G, workers), strict=True)):
        arrived[i] = row.copy()
        arrived[i][_lost(_rng(seed, step, worker, _LOST), len(row), rate, packet)] = fill
    return _rebuilt(G, arrived)


def _random(
    true: Sequence[np.ndarray],
    honest: Sequence[np.ndarray],
    rngs: Sequence[np.random.Generator],
    *,
    std: float | None = None,
) -> list[np.ndarray]:
    if std is None:
        return [rng.random(len(g)) for g, rng in zip(true, rngs, strict=True)]
    std = check_float("std", std, low=0)
    return [std * rng.standard_normal(len(g)) for g, rng in zip(true, rngs, strict=True)]


def _drop(
    true: Sequence[np.ndarray],
    honest: Sequence[np.ndarray],
    rngs: Sequence[np.random.Generator],
    *,
    rate: float = 0.1,
) -> list[np.ndarray]:
    rate = check_float("rate", rate, low=0, high=1)
    return [np.where(_lost(rng, len(g), rate, 1), 0, g) for g, rng in zip(true, rngs, strict=True)]


def _reverse(
    true: Sequence[np.ndarray], honest: Sequence[np.ndarray], rngs: Any, *, factor: float = 10.0
) -> list[np.ndarray]:
    return [-check_float("factor", factor) * g for g in true]


def _little_is_enough(
    true: Sequence[np.ndarray], honest: Sequence[np.ndarray], rngs: Any, *, z: float = 0.21
) -> list[np.ndarray]:
    z = check_float("z", z)
    found = np.stack(true).astype(np.float64)
    sent: np.ndarray = found.mean(axis=0) - z * found.std(axis=0)
    return [sent] * len(true)


def _fall_of_empires(
    true: Sequence[np.ndarray], honest: Sequence[np.ndarray], rngs: Any, *, eps: float = 0.1
) -> list[np.ndarray]:
    if not honest:
        raise bad_argument("bad", "all", "at least one honest gradient for fall_of_empires")
    sent: np.ndarray = -check_float("eps", eps) * np.stack(honest).mean(axis=0, dtype=np.float64)
    return [sent] * len(true)


def _constant(value: float) -> Attack:
    def attack(true: Sequence[np.ndarray], honest: Sequence[np.ndarray], rngs: Any) -> list[np.ndarray]:
        return [np.full_like(g, value) for g in true]

    return attack


def _sign_flip(true: Sequence[np.ndarray], honest: Sequence[np.ndarray], rngs: Any) -> list[np.ndarray]:
    return [-g for g in true]


ATTACKS: dict[str, Attack] = {
    "random": _random,
    "reverse": _reverse,
    "sign_flip": _sign_flip,
    "drop": _drop,
    "little_is_enough": _little_is_enough,
    "fall_of_empires": _fall_of_empires,
    "zero": _constant(0.0),
    "nan": _constant(np.nan),
    "inf": _constant(np.inf),
}
"""Attacks by name, see :func:`attack_gradients`."""


def _rng(seed: int, step: int, worker: int, stream: int) -> np.random.Generator:
    key = (check_int("seed", seed, low=0), check_int("step", step, low=0), worker, stream)
    return np.random.default_rng(key)


def _lost(rng: np.random.Generator, n: int, rate: float, packet: int) -> np.ndarray:
    return np.repeat(rng.random(-(-n // packet)) < rate, packet)[:n]


def _rows(G: Any) -> list[np.ndarray]:
    if isinstance(G, (list, tuple)):
        return [widen(to_numpy(check_array(f"G[{i}]", g, ndim=1, finite=False))) for i, g in enumerate(G)]
    return list(widen(to_numpy(check_array("G", G, ndim=2, finite=False))))


def _numbers(G: Any, workers: Sequence[int] | None) -> list[int]:
    if workers is None:
        return list(range(len(G)))
    if len(workers) != len(G):
        raise ShapeError(f"workers has {len(workers)} entries: expected {len(G)}, one a gradient")
    return [check_int("workers", w, low=0) for w in workers]


def _rebuilt(G: Any, changed: dict[int, np.ndarray]) -> Any:
    if isinstance(G, (list, tuple)):
        return [_as(changed[i], g) if i in changed else g for i, g in enumerate(G)]
    whole = check_array("G", G, ndim=2, finite=False)
    out = whole.clone() if is_torch(whole) else whole.copy()
    for i, row in changed.items():
        out[i] = _as(row, out[i])
    return out


def _as(row: np.ndarray, reference: Array) -> Array:
    if is_torch(reference):
        return like(row, reference).to(reference.dtype)
    dtype = reference.dtype if isinstance(reference, np.ndarray) else np.float64
    return np.asarray(row, dtype if np.issubdtype(dtype, np.floating) else np.float64)
