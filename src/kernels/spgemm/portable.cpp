#include "spgemm.inl"

const gossamer::spgemm::Table gossamer::spgemm::portable_table = gossamer::spgemm::kernels;
