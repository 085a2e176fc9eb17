"""What a page shows of a feature is what the autoencoder does."""

import numpy as np
import pytest
import torch
from torch import nn

from gossamer._core.errors import ArgumentError
from gossamer.nn import SparseAutoencoder, TokenChoice, describe_features, load_activations, output_directions


class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)

    def get_output_embeddings(self):
        return self.head

    def forward(self, tokens):
        return self.head(self.embed(tokens))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.manual_seed(0)
    model = Embed().eval()
    tokens = np.random.default_rng(0).integers(0, 11, (6, 12))
    cache = load_activations(
        model,
        "embed",
        np.split(tokens, 3),
        out=tmp_path_factory.mktemp("cache"),
        max_norm=None,
        shard_tokens=30,
    )
    return model, tokens, cache, SparseAutoencoder(8, 24, TokenChoice(2)).eval()


def test_texts_are_the_strongest_places_of_each_feature(made):
    model, tokens, cache, sae = made
    found = describe_features(
        sae, cache, tokens, str, texts=3, before=2, after=1, unembedding=output_directions(model), words=2
    )
    dense = sae.encode(torch.from_numpy(cache.x[:]), mode="threshold").to_dense().detach().numpy()
    assert {f.number for f in found} == set(np.flatnonzero(dense.any(axis=0)))
    assert [f.density for f in found] == sorted((f.density for f in found), reverse=True)
    grid = np.zeros((6, 12, 24))
    grid[cache.sequences, cache.positions] = dense
    effect = (sae.W_dec @ model.head.weight.T).detach().numpy()
    for feature in found:
        column = grid[:, :, feature.number]
        assert feature.density == pytest.approx((column > 0).sum() / len(cache))
        assert feature.strongest == pytest.approx(column.max(), rel=1e-5)
        best = np.sort(column.max(axis=1))[::-1]
        assert [max(t.strengths) for t in feature.texts] == pytest.approx(best[best > 0][:3], rel=1e-5)
        order = np.argsort(-effect[feature.number])
        assert feature.raises == tuple(map(str, order[:2]))
        assert feature.lowers == tuple(map(str, order[::-1][:2]))
        for text in feature.texts:
            assert len(text.pieces) <= 4
            assert " ".join(text.pieces) in " ".join(
                map(str, tokens[column.max(axis=1).argsort()].ravel())
            ) + " " + (" | ".join(" ".join(map(str, row)) for row in tokens))


def test_other_tokens_are_refused(made):
    _, tokens, cache, sae = made
    with pytest.raises(ArgumentError, match="not the tokens"):
        describe_features(sae, cache, tokens[::-1], str)
    with pytest.raises(ArgumentError, match="expected tokens"):
        describe_features(sae, cache, tokens.astype(float), str)
    assert output_directions(nn.Linear(2, 2)) is None
