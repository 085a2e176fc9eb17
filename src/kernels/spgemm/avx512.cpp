#include "spgemm.inl"

const gossamer::spgemm::Table gossamer::spgemm::avx512_table = gossamer::spgemm::kernels;
