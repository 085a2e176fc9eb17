#include "multigrid.inl"

const gossamer::multigrid::Table gossamer::multigrid::portable_table = gossamer::multigrid::kernels;
