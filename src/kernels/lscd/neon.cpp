#include "lscd.inl"

const gossamer::lscd::Table gossamer::lscd::neon_table = gossamer::lscd::kernels;
