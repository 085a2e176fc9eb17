"""Train a force field on metal clusters: ``python -m gossamer.science.forcefield --epochs 50 --save m.safetensors``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import save_file

from gossamer._core.files import atomic_path
from gossamer.science.forcefield.emt_clusters import NUMBERS, emt_clusters
from gossamer.science.forcefield.gaunt_mace import GauntMACE
from gossamer.science.forcefield.training import atomic_energies, force_field_errors, train_force_field


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Draw clusters, train, print the errors at both temperatures and return them."""
    parser = argparse.ArgumentParser(prog="python -m gossamer.science.forcefield", description=__doc__)
    parser.add_argument("--elements", nargs="+", default=["Al", "Cu", "Au"], choices=sorted(NUMBERS))
    parser.add_argument("--structures", type=int, default=300, help="to train on, and as many to test on")
    parser.add_argument("--interval", type=int, default=50, help="steps of 1 fs between structures")
    parser.add_argument("--temperature", type=float, default=600.0, help="K")
    parser.add_argument("--hot", type=float, default=900.0, help="K of the test of extrapolation")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--max-ell", type=int, default=3)
    parser.add_argument("--hidden-degree", type=int, default=2)
    parser.add_argument("--correlation", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="file for the weights (safetensors)")
    options = parser.parse_args(arguments)

    train, test, hot = (
        emt_clusters(
            options.structures,
            kelvin,
            options.elements,
            interval=options.interval,
            random_state=options.seed + i,
        )
        for i, kelvin in enumerate((options.temperature, options.temperature, options.hot))
    )
    numbers = [NUMBERS[name] for name in options.elements]
    torch.manual_seed(options.seed)
    model = GauntMACE(
        numbers,
        options.channels,
        options.max_ell,
        options.hidden_degree,
        options.correlation,
        energies=atomic_energies(train, numbers),
        scale=float(np.sqrt(np.mean(np.concatenate([s.forces for s in train]) ** 2))),
    )
    result = train_force_field(
        model,
        train,
        test,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        random_state=options.seed,
    )
    far = force_field_errors(model, hot)
    print(
        f"{options.temperature:.0f} K: force {result.force_mae:.1f} meV/Å, energy {result.energy_mae:.1f} meV an atom"
    )
    print(f"{options.hot:.0f} K: force {far['force']:.1f} meV/Å, energy {far['energy']:.1f} meV an atom")
    if options.save:
        with atomic_path(options.save) as temporary:
            save_file(model.state_dict(), temporary)
    return {"force": result.force_mae, "energy": result.energy_mae, "hot": far["force"]}


if __name__ == "__main__":
    main()
