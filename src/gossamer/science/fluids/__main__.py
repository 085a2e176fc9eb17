"""Train and try networks of conjugate directions: ``python -m gossamer.science.fluids train 2 out.safetensors``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gossamer.nn import ConjugateDirectionNet, load_conjugate_direction_net, save_conjugate_direction_net
from gossamer.science.fluids.comparison import compare_solvers
from gossamer.science.fluids.poisson import open_box, poisson_system
from gossamer.science.fluids.scenes import SCENES, fluid_scene
from gossamer.solve import DeepConjugateDirection, ritz_rhs_dataset


class Stage(NamedTuple):
    """One grid to train on, after the one before; ``edge,ritz,steps,batch,lr,final_lr`` on the command line."""

    edge: int
    n_ritz: int
    steps: int
    batch: int
    lr: float
    final_lr: float

    @classmethod
    def parse(cls, text: str) -> Stage:
        """Read a stage."""
        try:
            return cls(*(kind(part) for kind, part in zip(STAGE_TYPES, text.split(","), strict=True)))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected edge,ritz,steps,batch,lr,final_lr"
            ) from None


STAGE_TYPES = (int, int, int, int, float, float)
STAGES = {
    2: [Stage(32, 512, 1000, 16, 2e-3, 2e-4), Stage(64, 800, 1000, 8, 1e-3, 1e-5)],
    3: [Stage(16, 600, 520, 8, 2e-3, 1e-5)],
}
"""How the networks that come with gossamer were trained: minutes of one core. Longer is better."""


def train(options: argparse.Namespace) -> ConjugateDirectionNet:
    """Train a network stage by stage and write it; goes on where an earlier run with the same folder was cut."""
    torch.manual_seed(options.seed)
    net = ConjugateDirectionNet(options.dim)
    stages, facts = options.stage or STAGES[options.dim], []
    for number, stage in enumerate(stages):
        system = poisson_system(open_box((stage.edge,) * options.dim))
        data = ritz_rhs_dataset(system, n_ritz=stage.n_ritz, random_state=options.seed)
        result = DeepConjugateDirection(net, system.grid).fit(
            system,
            steps=stage.steps,
            batch_size=stage.batch,
            lr=stage.lr,
            final_lr=stage.final_lr,
            data=data,
            random_state=options.seed + number,
            checkpoint=None
            if options.folder is None
            else Path(options.folder) / f"stage{number}.safetensors",
            log=lambda line: print(line, flush=True),
        )
        facts.append(f"{','.join(str(part) for part in stage)} loss {result.loss:.5f}")
    save_conjugate_direction_net(net, options.out, stages="; ".join(facts), seed=options.seed)
    return net


def evaluate(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Print how solvers compare on the scenes, with a right side that is the divergence of a rough flow."""
    net = load_conjugate_direction_net(options.dim, options.weights)
    tables = {}
    for name in options.scene or SCENES:
        system = poisson_system(fluid_scene(name, (options.edge,) * options.dim))
        b = system @ np.where(
            system.fluid, np.random.default_rng(options.seed).standard_normal(system.shape[0]), 0
        )
        table = compare_solvers(system, b, net, rtol=options.rtol)
        print(f"{name}, {' x '.join(map(str, system.grid))}\n{table}\n", flush=True)
        tables[name] = table.rows
    return tables


def main(arguments: Sequence[str] | None = None) -> Any:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m gossamer.science.fluids", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="train a network")
    training.add_argument("dim", type=int, choices=(2, 3))
    training.add_argument("out", help="file for the weights (safetensors)")
    training.add_argument("--folder", help="for checkpoints")
    training.add_argument(
        "--stage", type=Stage.parse, action="append", help="edge,ritz,steps,batch,lr,final_lr"
    )
    training.set_defaults(run=train)
    trial = commands.add_parser("eval", help="compare solvers on the scenes")
    trial.add_argument("dim", type=int, choices=(2, 3))
    trial.add_argument("--weights", help="file of a network; by default the one that comes with gossamer")
    trial.add_argument("--edge", type=int, default=64)
    trial.add_argument("--scene", action="append", choices=SCENES)
    trial.add_argument("--rtol", type=float, default=1e-4)
    trial.set_defaults(run=evaluate)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    return options.run(options)


if __name__ == "__main__":
    main()
