"""Incompressible fluids on grids: the pressure systems, smoke, and solvers on them."""
