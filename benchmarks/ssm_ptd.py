"""S4-PTD and S5-PTD (arXiv 2310.01698): how close diagonal systems are to HiPPO, what noise does, what it costs.

Speed: 2 threads, forward and backward, against s5-pytorch and a Vandermonde product in torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run

PAPER_ROBUST = (
    "sCIFAR with 10 % noise at vulnerable frequencies: S4-PTD keeps about 75 %, S4D falls to near chance"
)
PAPER_LRA = "Long Range Arena: S4D 84.89, S4-PTD 86.58, S5 87.46, S5-PTD 87.61"
PAPER_TOY = "trained on frequencies up to 80, S4D predicts negative amplitudes beyond, S4-PTD does not"
SIZES = ((16, 0.01), (32, 0.01), (64, 0.01), (128, 0.1), (256, 0.1))


def transfer(full: bool) -> Iterator[Claim]:
    """Largest difference from HiPPO over all frequencies, condition, stability."""
    from gossamer.linalg import hippo, hippo_ptd
    from gossamer.linalg.dynamics.ptd import TABLE_RELS, TABLE_SIZES
    from gossamer.nn import transfer_gap

    for n, rel in SIZES:
        gap, omega = transfer_gap("ptd", n, rel=rel)
        dropped, _ = transfer_gap("legs", n)
        random, _ = transfer_gap("random", n, rel=rel)
        rest, _ = transfer_gap("ptd", n, [0.0], rel=rel)
        yield Claim(f"Largest gap to HiPPO's transfer function, n={n}, rel={rel}", f"<= {3 if n <= 64 else 6}", gap,
                    "norm of the state", dropped, "S4D-LegS", paper="strong against weak convergence",
                    note=f"at omega={omega:.3g}; a random perturbation of the same norm: {random:.3g}; "
                         f"HiPPO's own state has norm 1 at most; at rest the gap is {rest:.3g}")  # fmt: skip
        if n in (64, 256):
            bound = 10 if n == 64 else 25
            yield Claim(f"Times closer to HiPPO than S4D-LegS, n={n}", f">= {bound}", dropped / gap, "times")
    results = {(n, rel): hippo_ptd(n, rel) for n in TABLE_SIZES for rel in TABLE_RELS}
    for n, rel in SIZES:
        yield Claim(
            f"Condition of the eigenvectors, n={n}, rel={rel}", "<= 60", results[n, rel].kappa, "kappa"
        )
    worst = max(results, key=lambda key: results[key].kappa)
    yield Claim("Largest condition in the table", "<= 60", results[worst].kappa, "kappa",
                note=f"n={worst[0]}, rel={worst[1]}: it grows with n / rel")  # fmt: skip
    yield Claim("Smallest distance of an eigenvalue in the table from the imaginary axis", ">= 0.25",
                min(-r.max_real for r in results.values()), "1 / time")  # fmt: skip
    A, _ = hippo(64)
    E = np.random.default_rng(0).standard_normal(A.shape)
    w, V = np.linalg.eig(A + E * (0.01 * np.linalg.norm(A, 2) / np.linalg.norm(E, 2)))
    kappa = float(np.linalg.cond(V))
    yield Claim("Condition below that of a random perturbation of equal norm, n=64, rel=0.01", ">= 10x",
                results[64, 0.01].kappa, "kappa", kappa, "random perturbation", kappa / results[64, 0.01].kappa,
                note=f"largest real part of the random one: {w.real.max():.3g}, unstable")  # fmt: skip


def extrapolation(full: bool) -> Iterator[Claim]:
    """Outputs C fitted by least squares to HiPPO systems on frequencies up to 80, asked for 80 to 100; n=16."""
    from gossamer.linalg import hippo, hippo_normal, hippo_ptd

    n, seen, unseen = 16, np.linspace(0, 80, 401), np.linspace(80, 100, 201)
    h, B = hippo_normal(n), hippo(n)[1]
    r = hippo_ptd(n, 0.01)

    def fitted(states: Any, wanted: Any) -> tuple[float, float]:
        X, y = states(seen), wanted(seen)
        C = np.linalg.lstsq(np.vstack([X.real, X.imag]), np.concatenate([y.real, y.imag]), rcond=1e-6)[0]
        found, true = states(unseen) @ C, wanted(unseen)
        return float(np.linalg.norm(found - true) / np.linalg.norm(true)), float(found.real.min())

    def exact(w: np.ndarray) -> np.ndarray:
        return h.states(w) @ h.V.T

    def perturbed(w: np.ndarray) -> np.ndarray:
        return r.states(B, w)

    def dropped(w: np.ndarray) -> np.ndarray:
        return h.diagonal_states(w) @ h.V.T

    teachers = np.random.default_rng(0).standard_normal((20, n))
    errors = {
        name: [fitted(states, lambda w, c=c: exact(w) @ c)[0] for c in teachers]
        for name, states in (("ptd", perturbed), ("s4d", dropped))
    }
    spread = {"kind": "teachers", "values": errors}
    mine, peer = (float(np.mean(errors[name])) for name in ("ptd", "s4d"))
    yield Claim("Relative error on frequencies 80 to 100, trained up to 80, S4-PTD", "<= 0.2", mine, "relative error",
                peer, "S4D", spread=spread, paper=PAPER_TOY, note="20 random HiPPO systems of 16 states")  # fmt: skip
    yield Claim("The same of S4D-LegS", ">= 1", peer, "relative error", paper=PAPER_TOY)
    ours, theirs = (fitted(s, lambda w: np.ones_like(w) + 0j)[1] for s in (perturbed, dropped))
    yield Claim("Smallest amplitude predicted for inputs of amplitude 1 beyond the trained frequencies, S4-PTD", ">= 0",
                ours, "amplitude", theirs, "S4D-LegS", paper=PAPER_TOY)  # fmt: skip


def digits(full: bool) -> Iterator[Claim]:
    """Digits read pixel by pixel, with one Fourier mode added; networks are trained once and kept."""
    return _robustness("digits", "sequential digits, length 64", {"s4-ptd": "s4d", "s5-ptd": "s5"})


def mnist(full: bool) -> Iterator[Claim]:
    """The same at length 256."""
    return _robustness("mnist", "MNIST at 16 x 16, length 256", {"s4-ptd": "s4d"})


def _robustness(task: str, title: str, pairs: dict[str, str]) -> Iterator[Claim]:
    from benchmarks.ssm_ptd_tasks import AMPLITUDES, SEEDS, TASKS, record

    spike, epochs = TASKS[task].spike, TASKS[task].epochs
    runs = {layer: [record(task, layer, seed) for seed in SEEDS] for pair in pairs.items() for layer in pair}

    def mean(layer: str, value: Any) -> float:
        return float(np.mean([value(one) for one in runs[layer]]))

    def each(layer: str, amplitude: float, modes: Any) -> list[float]:
        """Accuracy at the worst of some modes, by seed."""
        return [
            min(one["attacked"][str(amplitude)][one["frequencies"].index(f)] for f in modes)
            for one in runs[layer]
        ]

    for ours, peer in pairs.items():
        clean = {layer: mean(layer, lambda one: one["clean"]) for layer in (ours, peer)}
        spread = {"kind": "seeds", "values": {k: [one["clean"] for one in runs[k]] for k in (ours, peer)}}
        yield Claim(f"Points of clean accuracy behind {peer}, {ours}, {title}", "<= 0.5",
                    clean[peer] - clean[ours], "points", spread=spread, paper=PAPER_LRA,
                    note=f"{ours}: {clean[ours]:.2f} %, {peer}: {clean[peer]:.2f} %, {len(SEEDS)} seeds, {epochs} "
                         "epochs")  # fmt: skip
        every = runs[ours][0]["frequencies"]
        # one step for all channels of S4D, so that they share a spike; S5 has a step, and a spike, for every state
        place, modes = ("the spike", [spike]) if peer == "s4d" else ("its worst frequency", every)
        lost = mean(ours, lambda one: one["clean_some"]) - float(np.mean(each(ours, AMPLITUDES[0], modes)))
        yield Claim(
            f"Points that {ours} loses under 10 % noise at {place}, {title}",
            "<= 5",
            lost,
            "points",
            paper=PAPER_ROBUST,
        )
        for amplitude in AMPLITUDES:
            values = {layer: each(layer, amplitude, modes) for layer in (ours, peer)}
            mine, theirs = (float(np.mean(values[layer])) for layer in (ours, peer))
            plain = [mean(layer, lambda one: one["clean_some"]) for layer in (ours, peer)]
            worst = [float(np.mean(each(layer, amplitude, every))) for layer in (ours, peer)]
            yield Claim(f"Points that {ours} is ahead of {peer}, {100 * amplitude:.0f} % noise at {place}, {title}",
                        ">= 10", mine - theirs, "points", paper=PAPER_ROBUST,
                        spread={"kind": "seeds", "values": values},
                        note=f"{ours}: {mine:.2f} %, {peer}: {theirs:.2f} %; without noise {plain[0]:.2f} and "
                             f"{plain[1]:.2f} %; at each one's worst frequency {worst[0]:.2f} and "
                             f"{worst[1]:.2f} %")  # fmt: skip


def speed(full: bool) -> Iterator[Claim]:
    """Forward and backward at L=4096 with 64 channels."""
    import torch
    from s5.s5_model import S5SSM

    from gossamer.nn import S5

    torch.manual_seed(0)
    L, H = 4096, 64
    u = torch.randn(L, H)
    # s5-pytorch keeps all conjugates: 256 states of it are 256 complex ones, as are 512 of ours
    for states in (256, 512):
        ours = S5(H, states, 1, mode="scan")
        peer = S5SSM(
            torch.complex(-torch.rand(256) - 0.1, 30 * torch.rand(256)), torch.eye(256, dtype=torch.complex64),
            torch.eye(256, dtype=torch.complex64), H, 256, 1e-3, 0.1, bcInit="dense",
        )  # fmt: skip
        kind = "as many real states" if states == 256 else "as many complex states"
        race = compare(
            lambda ours=ours: ours(u[None]).square().sum().backward(),
            lambda peer=peer: peer(u).square().sum().backward(),
            rounds=7,
        )
        yield Claim.from_race(f"S5 layer against s5-pytorch, L=4096, H=64, P=256, {kind}", ">= 5x", race,
                              peer_name="s5-pytorch 0.2.1, scan of log depth")  # fmt: skip


def kernels(full: bool) -> Iterator[Claim]:
    """The two kernels alone, against what a user writes in torch; and how much of the machine they use."""
    import time

    import torch

    from gossamer._kernels import ssm
    from gossamer.nn import associative_scan, ssm_scan
    from gossamer.nn.ssm.kernel import vandermonde

    rng = np.random.default_rng(0)
    H, N, L, P = 64, 64, 4096, 256
    z = torch.from_numpy(
        np.exp(-rng.uniform(1e-4, 0.1, (H, N)) + 3j * rng.uniform(size=(H, N))).astype(np.complex64)
    )
    c = torch.from_numpy(
        (rng.standard_normal((H, N)) + 1j * rng.standard_normal((H, N))).astype(np.complex64)
    )
    c, z = c.requires_grad_(), z.requires_grad_()
    slope = torch.randn(H, L)

    def product() -> torch.Tensor:
        powers = torch.exp(z.log()[..., None] * torch.arange(L))
        return torch.einsum("hn,hnl->hl", c, powers).real

    assert torch.linalg.norm(product() - vandermonde(c, z, L)) < 1e-3 * torch.linalg.norm(product())
    race = compare(
        lambda: torch.autograd.grad((vandermonde(c, z, L) * slope).sum(), (c, z)),
        lambda: torch.autograd.grad((product() * slope).sum(), (c, z)),
        rounds=5,
    )
    yield Claim.from_race("Vandermonde kernel, forward and backward, L=4096, H=64, N=64", ">= 5x", race,
                          peer_name="exponentials and einsum in torch")  # fmt: skip
    a = z.detach()[0].repeat(4)
    b = torch.view_as_complex(torch.randn(1, L, P, 2)).requires_grad_()
    race = compare(
        lambda: torch.autograd.grad(ssm_scan(a, b).real.sum(), b),
        lambda: torch.autograd.grad(associative_scan(a.expand_as(b), b).real.sum(), b),
        rounds=5,
    )
    yield Claim.from_race("Scan, forward and backward, L=4096, P=256", ">= 5x", race,
                          peer_name="scan of log depth in torch, ours")  # fmt: skip
    cn, zn, sn = c.detach().numpy(), z.detach().numpy(), slope.numpy()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        ssm.kernel(cn, zn, L)
        ssm.kernel_back(cn, zn, sn)
        times.append(time.perf_counter() - start)
    x, w = torch.randn(1024, 1024), torch.randn(1024, 1024)
    gemm = []
    for _ in range(9):
        start = time.perf_counter()
        x @ w
        gemm.append(time.perf_counter() - start)
    rate, peak = 12 * H * N * L / np.median(times) / 1e9, 2 * 1024**3 / np.median(gemm) / 1e9
    yield Claim("Arithmetic of the Vandermonde kernel against a matrix product", ">= 0.3x", rate,
                "GFLOP/s", float(peak), "torch, side 1024", note="12 N L flops a channel, both ways")  # fmt: skip


def agreement(full: bool) -> Iterator[Claim]:
    """How well modes, precisions and the peer agree."""
    import torch
    from s5.s5_model import S5SSM

    from gossamer._kernels import ssm
    from gossamer.nn import S4D, S4PTD, S5, S5PTD

    rng = np.random.default_rng(0)
    L = 1 << 17
    z = np.exp(-rng.uniform(0, 3e-5, (1, 32)) + 3j * rng.uniform(size=(1, 32))).astype(np.complex64)
    c = (rng.standard_normal((1, 32)) + 1j * rng.standard_normal((1, 32))).astype(np.complex64)
    exact = np.zeros(L)
    for i in range(32):
        exact += (c[0, i].astype(complex) * np.exp(np.log(z[0, i].astype(complex)) * np.arange(L))).real
    error = float(np.linalg.norm(ssm.kernel(c, z, L)[0] - exact) / np.linalg.norm(exact))
    yield Claim("Relative error of a float32 kernel of length 2^17", "<= 1e-5", error, "relative error")
    torch.manual_seed(0)
    u, worst = torch.randn(2, 512, 8), 0.0
    for layer in (S4D(8, 64), S4PTD(8, 64), S5(8, 64, 1), S5PTD(8, 64, 1)):
        with torch.no_grad():
            layer.mode = "conv"
            conv = layer(u)
            layer.mode = "scan"
            scan, state, steps = layer(u), None, []
            for k in range(u.shape[1]):
                y, state = layer.step(u[:, k], state)
                steps.append(y)
            for other in (conv, torch.stack(steps, 1)):
                worst = max(worst, float((other - scan).abs().max() / scan.abs().max()))
    yield Claim(
        "Largest difference between convolution, scan and steps, float32, L=512", "<= 1e-5", worst, "relative"
    )
    ours, eye = S5(4, 32, 1), torch.eye(16, dtype=torch.complex64)
    peer = S5SSM(ours.Lambda.detach(), eye, eye, 4, 16, 1e-3, 0.1, bcInit="dense")
    ours.weights.fill_(1)
    with torch.no_grad():
        peer.B.copy_(ours.B)
        peer.C.copy_(torch.view_as_complex(ours.C)[0])
        peer.D.copy_(ours.D)
        peer.log_step.copy_(ours.log_dt)
        theirs = peer(u[0, :, :4])
        difference = float((ours(u[:1, :, :4])[0] - theirs).abs().max() / theirs.abs().max())
    yield Claim("Difference from s5-pytorch with the same parameters", "<= 1e-5", difference, "relative")


if __name__ == "__main__":
    run(
        "ssm-ptd",
        {
            "transfer": transfer,
            "extrapolation": extrapolation,
            "agreement": agreement,
            "speed": speed,
            "kernels": kernels,
            "digits": digits,
            "mnist": mnist,
        },
        packages=["scipy", "torch", "scikit-learn", "s5-pytorch"],
    )
