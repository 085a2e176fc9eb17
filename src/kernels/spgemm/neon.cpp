#include "spgemm.inl"

const gossamer::spgemm::Table gossamer::spgemm::neon_table = gossamer::spgemm::kernels;
