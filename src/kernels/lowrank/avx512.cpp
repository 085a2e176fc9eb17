#include "lowrank.inl"

const gossamer::lowrank::Table gossamer::lowrank::avx512_table = gossamer::lowrank::kernels;
