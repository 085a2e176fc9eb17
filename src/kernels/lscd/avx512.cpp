#include "lscd.inl"

const gossamer::lscd::Table gossamer::lscd::avx512_table = gossamer::lscd::kernels;
