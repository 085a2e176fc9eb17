#include "linear.inl"

const gossamer::linear::Table gossamer::linear::avx512_table = gossamer::linear::kernels;
