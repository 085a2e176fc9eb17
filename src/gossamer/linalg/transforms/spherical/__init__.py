"""Functions on the sphere: harmonics, rotations, Gaunt coefficients, and the way to Fourier series on the torus."""
