#include "quant.inl"

const gossamer::quant::Table gossamer::quant::avx2_table = gossamer::quant::kernels;
