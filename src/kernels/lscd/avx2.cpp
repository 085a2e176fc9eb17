#include "lscd.inl"

const gossamer::lscd::Table gossamer::lscd::avx2_table = gossamer::lscd::kernels;
