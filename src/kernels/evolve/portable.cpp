#include "evolve.inl"

const gossamer::evolve::Table gossamer::evolve::portable_table = gossamer::evolve::kernels;
