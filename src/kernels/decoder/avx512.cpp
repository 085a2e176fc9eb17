#include "ops.inl"

const gossamer::decoder::Ops gossamer::decoder::avx512_table = gossamer::decoder::kernels;
