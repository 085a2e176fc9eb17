"""Train and try networks of conjugate directions: ``python -m gossamer.science.fluids train 2 out.safetensors``."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gossamer.nn import ConjugateDirectionNet, load_conjugate_direction_net, save_conjugate_direction_net
from gossamer.science.fluids.comparison import compare_solvers
from gossamer.science.fluids.poisson import PoissonSystem, poisson_system
from gossamer.science.fluids.scenes import SCENES, fluid_scene
from gossamer.solve import DeepConjugateDirection, RitzSides, TrainingSystem, ritz_rhs_dataset


class Lesson(NamedTuple):
    """Right sides to train on; ``scene,edge,ritz,exponent,batch,share`` on the command line."""

    scene: str
    edge: int
    n_ritz: int
    exponent: float
    batch: int
    share: float

    @classmethod
    def parse(cls, text: str) -> Lesson:
        """Read a lesson."""
        try:
            lesson = cls(*(kind(part) for kind, part in zip(LESSON_TYPES, text.split(","), strict=True)))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected scene,edge,ritz,exponent,batch,share"
            ) from None
        if lesson.scene not in SCENES:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a scene among {', '.join(SCENES)}")
        return lesson

    def system(self, net: ConjugateDirectionNet, seed: int) -> TrainingSystem:
        """Make the system, and right sides for it."""
        poisson, data = _sides(self.scene, (self.edge,) * net.dim, self.n_ritz, seed)
        return TrainingSystem(
            direction=DeepConjugateDirection(net, poisson.grid, mask=poisson.fluid),
            A=poisson,
            data=data.smoother(self.exponent),
            batch_size=self.batch,
            share=self.share,
        )


@functools.cache
def _sides(scene: str, grid: tuple[int, ...], n_ritz: int, seed: int) -> tuple[PoissonSystem, RitzSides]:
    poisson = poisson_system(fluid_scene(scene, grid, random_state=seed))
    return poisson, ritz_rhs_dataset(poisson, n_ritz=n_ritz, random_state=seed)


LESSON_TYPES = (str, int, int, float, int, float)
LESSONS = {
    2: [
        Lesson("plume", 64, 800, 0.0, 8, 1.0),
        Lesson("plume", 32, 512, 0.0, 16, 0.7),
        Lesson("plume", 16, 128, 0.0, 16, 0.3),
        Lesson("plume", 64, 800, 0.5, 8, 0.4),
        Lesson("plume", 32, 512, 0.5, 16, 0.3),
        Lesson("plume", 16, 128, 0.5, 16, 0.1),
    ],
    3: [
        Lesson("plume", 32, 800, 0.0, 2, 1.0),
        Lesson("plume", 16, 600, 0.0, 8, 1.0),
        Lesson("plume", 8, 128, 0.0, 16, 0.3),
    ],
}
STEPS = {2: 10_000, 3: 2_500}
DEEP: dict[str, Any] = {"n_coarse": 2, "n_up": 1, "n_back": 1, "levels": None, "bias": False, "relu": False}
"""How the networks that come with gossamer were made: a quarter of an hour of one core each."""


def train(options: argparse.Namespace) -> ConjugateDirectionNet:
    """Train a network and write it; goes on where an earlier run with the same folder was cut."""
    torch.manual_seed(options.seed)
    net = ConjugateDirectionNet(options.dim, **({} if options.published else DEEP))
    lessons = options.lesson or LESSONS[options.dim]
    steps = options.steps or STEPS[options.dim]
    first, *others = (lesson.system(net, options.seed) for lesson in lessons)
    if first.share <= 0:
        raise SystemExit("the first lesson has a share of 0: expected more")
    result = first.direction.fit(
        first.A,
        steps=steps,
        batch_size=first.batch_size,
        lr=options.lr,
        final_lr=options.final_lr,
        data=first.data,
        others=[replace(other, share=other.share / first.share) for other in others],
        random_state=options.seed,
        checkpoint=None if options.folder is None else Path(options.folder) / "state.safetensors",
        every=1000,
        log=lambda line: print(line, flush=True),
    )
    save_conjugate_direction_net(
        net,
        options.out,
        lessons=" ".join(",".join(str(part) for part in lesson) for lesson in lessons),
        steps=steps,
        lr=options.lr,
        final_lr=options.final_lr,
        seed=options.seed,
        loss=f"{result.loss:.5f}",
    )
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
        "--lesson", type=Lesson.parse, action="append", help="scene,edge,ritz,exponent,batch,share"
    )
    training.add_argument("--steps", type=int)
    training.add_argument("--lr", type=float, default=2e-3)
    training.add_argument("--final-lr", type=float, default=1e-5)
    training.add_argument("--published", action="store_true", help="two levels, with biases")
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
