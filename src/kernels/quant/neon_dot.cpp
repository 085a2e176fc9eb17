#include "quant.inl"

const gossamer::quant::Table gossamer::quant::neon_dot_table = gossamer::quant::kernels;
