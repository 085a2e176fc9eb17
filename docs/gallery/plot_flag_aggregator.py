"""
A training that hostile workers cannot ruin
===========================================

Eleven workers train a network for handwritten digits; each sees its images through noise of its own. Three of them send
random numbers in place of their gradients. Nobody tells the server how many there are: rules that ask for f are told 1.
On the left what becomes of the accuracy; on the right what the Flag Aggregator thinks of each worker, which it was not
told either.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from gossamer.distributed import ParameterServer

WORKERS, BAD, STEPS = 11, (2, 5, 8), 120

pixels, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
x, y = torch.from_numpy(pixels[order]).float() / 16, torch.from_numpy(labels[order])
x, x_test, y, y_test = x[:1400], x[1400:], y[:1400], y[1400:]


def batches(worker):
    """Endless batches of a worker's own images, with its own amount of noise."""
    share, targets = x[worker::WORKERS], y[worker::WORKERS]
    while True:
        chosen = torch.randint(len(share), (32,))
        noise = 0.125 * (worker % 3) * torch.randn(32, 64)
        yield share[chosen] + noise, targets[chosen]


# %%
# The server and its workers run in this process; without ``workers=11`` they would be the processes of a group.


def train(rule, **options):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    server = ParameterServer(
        net,
        torch.nn.functional.cross_entropy,
        rule,
        f=1,
        optimizer=torch.optim.SGD(net.parameters(), 0.2),
        attack="random",
        attack_options={"std": 10.0},
        byzantine_ranks=[worker + 1 for worker in BAD],
        rule_options=options,
    )
    curve = []

    def measure(step):
        with torch.no_grad():
            curve.append(100 * float((net(x_test).argmax(1) == y_test).float().mean()))

    return curve, server.fit(batches, STEPS, workers=WORKERS, callback=measure)


curves = {
    label: train(rule)[0] for label, rule in (("mean", "mean"), ("trimmed mean, f = 1", "trimmed_mean"))
}
curves["Flag Aggregator"], _ = train("flag")
_, judged = train("flag", m=1)

# %%
# With ``m=1`` the quality is the squared cosine between a gradient and the common direction.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.3), layout="constrained", gridspec_kw={"width_ratios": [1, 1.15]}
)
colours = {"mean": "#b3552e", "trimmed mean, f = 1": "#c9a227", "Flag Aggregator": "#2a7f62"}
for label, curve in curves.items():
    left.plot(curve, color=colours[label], label=label, linewidth=2)
left.axhline(10, color="black", linewidth=0.6, linestyle=":")
left.set(xlabel="step", ylabel="test accuracy, %", ylim=(0, 100))
left.grid(alpha=0.2)
left.legend(loc="center right")

picture = right.imshow(
    judged.quality.T, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest"
)
right.set(xlabel="step", title="share of each gradient in the common direction")
names = [f"{worker}  hostile" if worker in BAD else f"{worker}" for worker in range(WORKERS)]
right.set_yticks(range(WORKERS), names)
for worker in BAD:
    right.get_yticklabels()[worker].set_color("#b3552e")
figure.colorbar(picture, ax=right)
plt.show()
