"""Force fields: energies of atoms as sums of equivariant features, forces by differentiation."""
