#include "multigrid.inl"

const gossamer::multigrid::Table gossamer::multigrid::neon_table = gossamer::multigrid::kernels;
