#include "quant.inl"

const gossamer::quant::Table gossamer::quant::portable_table = gossamer::quant::kernels;
