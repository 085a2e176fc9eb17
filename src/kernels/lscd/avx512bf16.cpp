#include "lscd.inl"

const gossamer::lscd::Table gossamer::lscd::avx512bf16_table = gossamer::lscd::kernels;
