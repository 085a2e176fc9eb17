#include "spgemm.inl"

const gossamer::spgemm::Table gossamer::spgemm::avx2_table = gossamer::spgemm::kernels;
