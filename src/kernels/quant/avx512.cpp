#include "quant.inl"

const gossamer::quant::Table gossamer::quant::avx512_table = gossamer::quant::kernels;
