#include "linear.inl"

const gossamer::linear::Table gossamer::linear::neon_table = gossamer::linear::kernels;
