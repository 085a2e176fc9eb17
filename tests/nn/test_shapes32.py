"""The generator that comes with gossamer: small, whole, and judged by a reader that reads."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import FormatError
from gossamer.datasets import factor_images
from gossamer.nn import FactorReader, frechet_distance, load_shapes32, read_quality, train_factor_reader
from gossamer.nn.generative.shapes32 import FILE, save_shapes32


@pytest.fixture(scope="module")
def shapes():
    return load_shapes32()


@pytest.fixture(scope="module")
def fresh():
    data = factor_images(500, 12)
    return torch.from_numpy(data.images), data.factors


def test_the_file_is_small():
    assert FILE.stat().st_size <= 2_000_000


def test_the_reader_explains_97_percent_of_every_factor(shapes, fresh):
    quality = read_quality(shapes.reader, *fresh)
    assert min(quality.values()) >= 0.97, quality


def test_changes_are_what_the_factors_say(shapes, fresh):
    images, factors = fresh
    found = shapes.reader.changes(images[:-1], images[1:])
    truth = np.abs(np.diff(factors, axis=0))
    truth[:, 4] = np.minimum(truth[:, 4], 1 - truth[:, 4])
    truth[:, 0] = truth[:, 0] > 0
    assert (np.abs(found - truth).mean(axis=0) < 0.06 * np.ptp(truth, axis=0)).all()


def test_pictures_are_apart_by_how_much_their_factors_differ(shapes, fresh):
    images, _ = fresh
    near = shapes.reader.distance(images[:50], images[:50])
    far = shapes.reader.distance(images[:50], images[50:100])
    assert float(near.abs().max()) < 1e-5
    assert float(far.min()) > 0


def test_generated_pictures_are_nearer_to_real_ones_than_noise(shapes, fresh):
    G = shapes.generator
    with torch.no_grad():
        fake = G(G.mapping(torch.randn(500, 64, generator=torch.Generator().manual_seed(0))))
        noise = torch.rand(500, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        real, ours, theirs = (shapes.reader.features(x).numpy() for x in (fresh[0], fake, noise))
    assert frechet_distance(real, ours) < frechet_distance(real, theirs)


def test_a_reader_learns(fresh):
    images, factors = fresh
    reader = train_factor_reader(images, factors, steps=60)
    assert read_quality(reader, images, factors)["background"] > 0.5


def test_files_are_whole_or_refused(tmp_path, shapes):
    networks = {"generator": shapes.generator, "discriminator": shapes.discriminator, "reader": shapes.reader}
    save_shapes32(tmp_path / "a", networks, 7)
    again = load_shapes32(tmp_path / "a")
    assert again.steps == 7
    z = torch.randn(1, 64)
    assert torch.equal(again.generator(z), shapes.generator(z))
    with pytest.raises(FormatError, match="no such file"):
        load_shapes32(tmp_path / "b")
    (tmp_path / "c").write_bytes((tmp_path / "a").read_bytes()[:-100])
    with pytest.raises(FormatError, match="not a whole file"):
        load_shapes32(tmp_path / "c")
    save_shapes32(tmp_path / "d", {**networks, "reader": FactorReader(width=8)}, 7)
    with pytest.raises(FormatError, match="other networks"):
        load_shapes32(tmp_path / "d")
