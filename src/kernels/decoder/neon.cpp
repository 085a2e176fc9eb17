#include "ops.inl"

const gossamer::decoder::Ops gossamer::decoder::neon_table = gossamer::decoder::kernels;
