#include "csr.inl"

const gossamer::csr::Table gossamer::csr::avx512_table = gossamer::csr::kernels;
