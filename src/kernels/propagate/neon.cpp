#include "propagate.inl"

const gossamer::propagate::Table gossamer::propagate::neon_table = gossamer::propagate::kernels;
