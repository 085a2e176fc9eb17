#include "encoder.inl"

const gossamer::encoder::Table gossamer::encoder::avx2_table = gossamer::encoder::kernels;
