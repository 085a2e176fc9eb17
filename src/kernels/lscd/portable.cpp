#include "lscd.inl"

const gossamer::lscd::Table gossamer::lscd::portable_table = gossamer::lscd::kernels;
