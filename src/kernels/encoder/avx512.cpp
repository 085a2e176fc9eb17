#include "encoder.inl"

const gossamer::encoder::Table gossamer::encoder::avx512_table = gossamer::encoder::kernels;
