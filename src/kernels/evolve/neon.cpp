#include "evolve.inl"

const gossamer::evolve::Table gossamer::evolve::neon_table = gossamer::evolve::kernels;
