"""
Which notes are sounding?
=========================

Random chords of seven plucked notes, as a power spectrum every few hundredths of a second. Spike-and-slab coding learns
the spectrum of each note from the mixture alone; its posterior says for every moment which notes are there, and how
loud: a piano roll that nobody wrote down.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.signal import spectrogram

from gossamer.learn import AnnealingSchedule, GaussianSparseCoding

warnings.simplefilter("ignore", UserWarning)
rng = np.random.default_rng(0)
rate, seconds = 4000, 160
notes = 110 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11]) / 12)  # a major scale from A2

# %%
# A note begins now and then, decays, and has five overtones.

time = np.arange(rate * seconds) / rate
sound = 0.01 * rng.standard_normal(len(time))
loudness = np.zeros((len(notes), len(time)))
for k, pitch in enumerate(notes):
    for start in rng.uniform(0, seconds - 1, 70):
        a, b = int(start * rate), min(int((start + 0.9) * rate), len(time))
        envelope = rng.uniform(0.6, 1.4) * np.exp(-2.0 * (time[a:b] - start))
        loudness[k, a:b] += envelope
        phase = rng.uniform(0, 2 * np.pi, 6)
        for overtone in range(1, 7):
            wave = np.sin(2 * np.pi * overtone * pitch * time[a:b] + phase[overtone - 1])
            sound[a:b] += envelope * wave / overtone**1.5
frequencies, moments, power = spectrogram(sound, rate, nperseg=512, noverlap=256, mode="magnitude")
X = power[2:110].T  # up to 850 Hz
X /= X.std()

# %%
# Seven causes, learnt from the magnitudes.

schedule = AnnealingSchedule(120, T=((0, 4.0), (0.8, 1.0)), truncation=0.0)
fits = [
    GaussianSparseCoding(7, noise="diagonal", max_active=4, schedule=schedule, random_state=k).fit(X)
    for k in range(3)
]
model = max(fits, key=lambda one: one.score(X))
codes = model.transform(X)
codes /= np.quantile(codes, 0.98, axis=0)

true = np.array([np.interp(moments, time[::40], row[::40]) for row in loudness])
true /= np.quantile(true, 0.98)
order = linear_sum_assignment(-np.abs(np.corrcoef(true, codes.T)[:7, 7:]))[1]

figure, panels = plt.subplots(
    3, 1, figsize=(9, 7), layout="constrained", height_ratios=(1.3, 1, 1), sharex=True
)
shown = moments < 14
panels[0].pcolormesh(moments[shown], frequencies[2:110], np.sqrt(X[shown].T), cmap="magma", rasterized=True)
panels[0].set(ylabel="Hz", title="spectrum")
for axes, what, title in (
    (panels[1], true, "what was played"),
    (panels[2], codes[:, order].T, "what was heard"),
):
    axes.pcolormesh(
        moments[shown], np.arange(7), what[:, shown], cmap="magma", vmin=0, vmax=1, rasterized=True
    )
    axes.set(yticks=range(7), yticklabels=list("ABCDEFG"), title=title)
panels[2].set_xlabel("seconds")
plt.show()
