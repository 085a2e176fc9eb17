#include "multigrid.inl"

const gossamer::multigrid::Table gossamer::multigrid::avx2_table = gossamer::multigrid::kernels;
