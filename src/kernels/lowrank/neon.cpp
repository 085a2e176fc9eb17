#include "lowrank.inl"

const gossamer::lowrank::Table gossamer::lowrank::neon_table = gossamer::lowrank::kernels;
