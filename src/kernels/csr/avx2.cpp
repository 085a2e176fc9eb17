#include "csr.inl"

const gossamer::csr::Table gossamer::csr::avx2_table = gossamer::csr::kernels;
