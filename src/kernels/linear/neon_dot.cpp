#include "linear.inl"

const gossamer::linear::Table gossamer::linear::neon_dot_table = gossamer::linear::kernels;
