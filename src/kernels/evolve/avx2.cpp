#include "evolve.inl"

const gossamer::evolve::Table gossamer::evolve::avx2_table = gossamer::evolve::kernels;
