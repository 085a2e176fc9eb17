#include "multigrid.inl"

const gossamer::multigrid::Table gossamer::multigrid::avx512_table = gossamer::multigrid::kernels;
