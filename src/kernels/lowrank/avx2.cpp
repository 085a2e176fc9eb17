#include "lowrank.inl"

const gossamer::lowrank::Table gossamer::lowrank::avx2_table = gossamer::lowrank::kernels;
