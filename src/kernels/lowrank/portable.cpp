#include "lowrank.inl"

const gossamer::lowrank::Table gossamer::lowrank::portable_table = gossamer::lowrank::kernels;
