"""
A model of one's own: parts of photon counts
============================================

Expectation truncation does not care which model it trains. Here are counts: pixels receive photons at rates that add
up over the parts that are there, plus a dark rate. The class below says how likely a state is, what to sum and how sums
become parameters. Annealing, truncation, posteriors, scores, samples, processes and Dask come with the base class.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import gammaln

from gossamer.learn import AnnealingSchedule, bars
from gossamer.learn.coding.states import list_states
from gossamer.learn.coding.truncated import TruncatedCoding, clip_probability


class PhotonCoding(TruncatedCoding):
    """Binary causes, ``y_d ~ Poisson(dark_d + sum_h s_h W_hd)``."""

    def _start(self, columns, rng):
        mean = columns.mean + 1e-3
        W = mean * rng.uniform(0.5, 1.5, (self.n_components, len(mean)))
        return {"W": W, "dark": 0.1 * mean, "pi": 1 / self.n_components, "sigma": 1.0}

    def _scores(self, Y, params):
        gain = np.log1p(params["W"] / params["dark"])
        return Y @ gain.T - params["W"].sum(axis=1)

    def _rates(self, params, tree):  # of each point, state and pixel
        W, listed = params["W"], self._listed(tree)
        none, alone = np.zeros((len(tree.chosen), 1, W.shape[1])), np.tile(W, (len(tree.chosen), 1, 1))
        return params["dark"] + np.concatenate([none, alone, listed @ W[tree.chosen]], axis=1)

    @staticmethod
    def _listed(tree):
        return list_states(tree.chosen.shape[1], tree.active, np.ones(1))

    def _joint(self, Y, params, tree, step, threads):
        rates = self._rates(params, tree)
        fit = np.einsum("nkd,nd->nk", np.log(rates), Y) - rates.sum(axis=2)
        causes = np.concatenate([[0], np.ones(len(params["W"])), self._listed(tree).sum(axis=1)])
        joint = fit / step.T + causes * np.log(params["pi"] / (1 - params["pi"]))
        return joint - joint[:, :1], joint[:, 0] - gammaln(Y + 1).sum(axis=1) / step.T

    def _moments(self, Y, params, evaluation, weight, threads):
        tree, H, listed = evaluation.tree, len(params["W"]), self._listed(evaluation.tree)
        share = evaluation.posterior[:, :, None] / self._rates(params, tree)  # of a photon, by state
        own = share[:, 1 : 1 + H].copy()
        for n, ids in enumerate(tree.chosen):
            own[n, ids] += listed.T @ share[n, 1 + H :]
        mean, _, count = self._state_moments(evaluation, threads)
        return {
            "s": mean.sum(axis=0),
            "count": count,
            "photons": params["W"] * np.einsum("nhd,nd->hd", own, Y),
            "dark": params["dark"] * np.einsum("nkd,nd->d", share, Y),
        }

    def _maximise(self, params, sums, step):
        within, causes = self._within(params, step.active)
        pi = params["pi"] * within / causes * sums["count"][0] / sums["points"]
        W = sums["photons"] / np.maximum(sums["s"], 1e-9)[:, None]
        dark = np.maximum(sums["dark"] / sums["points"], 1e-6)
        return params | {"W": np.maximum(W, 1e-6), "dark": dark, "pi": float(clip_probability(pi))}

    def _constant(self, params):
        return len(params["W"]) * np.log1p(-params["pi"])

    def _superpose(self, S, params):
        return S @ params["W"] + params["dark"]

    def _emit(self, mean, params, rng):
        return rng.poisson(mean).astype(float)


# %%
# A photon or two a pixel is all there is to see.

rng = np.random.default_rng(0)
true = bars.bars_dictionary(8) * 2.0
S = rng.random((1500, 8)) < 0.25
X = rng.poisson(S @ true + 0.2).astype(float)
schedule = AnnealingSchedule(60, T=((0, 3.0), (0.8, 1.0)))
fits = [
    PhotonCoding(8, n_candidates=5, max_active=3, schedule=schedule, random_state=k).fit(X) for k in range(3)
]
model = max(fits, key=lambda one: one.score(X))
match = bars.match_dictionaries(model.components_, true)
there = model.posterior(X, top_k=1).marginal[:, match.order] > 0.5
print(
    f"prior {model.prior_:.2f}, decisions right {(there == S).mean():.3f}, mean error {match.mae:.2f} photons"
)

figure, panels = plt.subplots(2, 8, figsize=(9, 2.6), layout="constrained")
for axes, image in zip(panels.flat, [*X[:8], *model.components_[match.order]]):
    axes.imshow(image.reshape(4, 4), cmap="magma", vmin=0, vmax=6 if image.max() > 4 else 2.5)
    axes.set(xticks=[], yticks=[])
panels[0, 0].set_title("photons", loc="left")
panels[1, 0].set_title("parts", loc="left")
plt.show()
