#include "linear.inl"

const gossamer::linear::Table gossamer::linear::avx2_table = gossamer::linear::kernels;
