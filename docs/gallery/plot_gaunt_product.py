"""
Multiply two features, see a function
=====================================

A feature of an equivariant network is a function on the sphere. Its tensor product with another one, by Gaunt
coefficients, is the product of the two functions: where either vanishes, so does the result. Distance from the centre
is the size of the function, colour its sign.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LightSource

from gossamer.linalg import spherical_harmonics
from gossamer.nn import gaunt_power, gaunt_product

L = 3
x, y = np.zeros((2, (L + 1) ** 2))
x[[0, 6, 12]] = 0.4, 1.0, 0.7  # zonal: a function of the height
y[[1, 9, 15]] = 0.5, 1.0, 0.5  # waves around the axis
z = gaunt_product(x, y, L, L)

# %%
# The product has degree 6, and nothing of it is lost. Turning both factors and multiplying is multiplying and turning.

theta, phi = np.mgrid[0 : np.pi : 181j, 0 : 2 * np.pi : 361j]
points = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1)
shown = {"$F_x$": x, "$F_y$": y, "$F_x F_y$": z, "$F_y^3$": gaunt_power(y, 3, L, 3 * L)}
values = {name: spherical_harmonics(points, int(len(c) ** 0.5) - 1) @ c for name, c in shown.items()}
print(np.abs(values["$F_x F_y$"] - values["$F_x$"] * values["$F_y$"]).max())

# %%
# The many-body feature on the right has all three factors in it, and degree 9.

figure = plt.figure(figsize=(11, 3.4), layout="constrained")
light = LightSource(azdeg=315, altdeg=55)
for i, (name, F) in enumerate(values.items()):
    axes = figure.add_subplot(1, 4, i + 1, projection="3d")
    X, Y, Z = np.moveaxis(points * np.abs(F)[..., None] / np.abs(F).max(), -1, 0)
    colours = plt.get_cmap("RdBu_r")(
        0.5 + 0.38 * np.sign(F) * np.minimum(1, (np.abs(F) / np.abs(F).max()) ** 0.3)
    )
    axes.plot_surface(Z, X, Y, facecolors=colours, rstride=2, cstride=2, lightsource=light, antialiased=False)
    axes.set(xlim=(-0.95, 0.95), ylim=(-0.95, 0.95), zlim=(-0.95, 0.95), title=name)
    axes.set_box_aspect((1, 1, 1), zoom=1.5)
    axes.set_axis_off()
plt.show()
