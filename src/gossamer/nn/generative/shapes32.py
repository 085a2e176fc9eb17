"""The generator that comes with gossamer: one shape on a grey ground, 32 x 32. Run as a module, this file trains it."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch

from gossamer._core.errors import FormatError
from gossamer._core.files import atomic_path
from gossamer.datasets.shape_images import factor_images
from gossamer.nn.generative.factor_reader import FactorReader, read_quality, train_factor_reader
from gossamer.nn.generative.style_training import StyleTrainer, StyleTraining
from gossamer.nn.generative.stylegan import StyleDiscriminator, StyleGenerator

FILE = Path(__file__).with_name("shapes32.safetensors")

TRAINING = StyleTraining(batch=16, r1=0.3, ema=5_000, precision="bfloat16")
"""How the generator was trained: the defaults, with R1 for pictures of 32 x 32 instead of 1024 x 1024 pixels."""


class Shapes32(NamedTuple):
    """A trained generator with what goes with it.

    Attributes
    ----------
    generator : StyleGenerator
        Averaged over its training.
    discriminator : StyleDiscriminator
        To go on training with.
    reader : FactorReader
        Reads factors off pictures; its features measure distances.
    steps : int
        Steps of 16 pictures that the generator was trained for.
    """

    generator: StyleGenerator
    discriminator: StyleDiscriminator
    reader: FactorReader
    steps: int


def load_shapes32(path: str | os.PathLike[str] | None = None) -> Shapes32:
    """Load the small generator that comes with gossamer, trained on :func:`gossamer.datasets.factor_images`.

    Parameters
    ----------
    path : path, optional
        Another file that this module's script wrote.

    Returns
    -------
    Shapes32

    Raises
    ------
    FormatError
        If the file is missing, damaged, or of other networks.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import load_shapes32
    >>> G = load_shapes32().generator
    >>> G(G.mapping(torch.randn(2, 64), truncation=0.7)).shape
    torch.Size([2, 3, 32, 32])
    """
    file = FILE if path is None else Path(path)
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            steps = int((handle.metadata() or {})["steps"])
            tensors = {name: handle.get_tensor(name).float() for name in handle.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise FormatError(f"{file}: no such file") from None
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise FormatError(f"{file}: not a whole file of this kind ({error})") from None
    parts = {"generator": StyleGenerator(), "discriminator": StyleDiscriminator(), "reader": FactorReader()}
    try:
        for name, module in parts.items():
            own = {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            module.load_state_dict(own)
    except RuntimeError as error:
        raise FormatError(f"{file}: holds other networks ({error})") from None
    G, D, reader = parts.values()
    return Shapes32(G.eval(), D, reader.eval().requires_grad_(False), steps)  # type: ignore[arg-type]


def save_shapes32(path: str | os.PathLike[str], networks: Mapping[str, torch.nn.Module], steps: int) -> None:
    """Write the three networks, atomically: the generator in float32, the other two in float16."""
    tensors: dict[str, torch.Tensor] = {}
    for part, module in networks.items():
        dtype = torch.float32 if part == "generator" else torch.float16
        tensors |= {f"{part}.{name}": v.to(dtype).contiguous() for name, v in module.state_dict().items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"steps": str(steps)})


def train_shapes32(
    folder: str | os.PathLike[str], steps: int, every: int = 250, seed: int = 0
) -> StyleTrainer:
    """Train from scratch, or go on from ``folder/state.safetensors``, up to a number of steps."""
    torch.manual_seed(seed)
    images = torch.from_numpy(factor_images(20_000, 0).images)
    trainer = StyleTrainer(StyleGenerator(), StyleDiscriminator(), images, TRAINING, seed=seed)
    state = Path(folder) / "state.safetensors"
    if state.exists():
        trainer.load(state)
    begin = time.process_time()
    while trainer.step < steps:
        trainer.run(min(every, steps - trainer.step))
        trainer.save(state)
        losses = {name: sum(values[-every:]) / every for name, values in trainer.history.items()}
        print(trainer.step, f"{time.process_time() - begin:.0f} s", losses, flush=True)
    return trainer


def main() -> None:
    """Train the reader and the generator, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="for the state of the training, which goes on from there")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--out", default=FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trainer = train_shapes32(arguments.folder, arguments.steps)
    torch.manual_seed(0)
    known, fresh = factor_images(20_000, 0), factor_images(2_000, 1)
    reader = train_factor_reader(torch.from_numpy(known.images), known.factors)
    print(read_quality(reader, torch.from_numpy(fresh.images), fresh.factors))
    networks = {"generator": trainer.average, "discriminator": trainer.discriminator, "reader": reader}
    save_shapes32(arguments.out, networks, trainer.step)


if __name__ == "__main__":
    main()
