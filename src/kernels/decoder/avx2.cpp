#include "ops.inl"

const gossamer::decoder::Ops gossamer::decoder::avx2_table = gossamer::decoder::kernels;
