#include "evolve.inl"

const gossamer::evolve::Table gossamer::evolve::avx512_table = gossamer::evolve::kernels;
