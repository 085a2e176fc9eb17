#include "quant.inl"

const gossamer::quant::Table gossamer::quant::neon_table = gossamer::quant::kernels;
