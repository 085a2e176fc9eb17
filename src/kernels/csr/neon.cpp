#include "csr.inl"

const gossamer::csr::Table gossamer::csr::neon_table = gossamer::csr::kernels;
