#include "csr.inl"

const gossamer::csr::Table gossamer::csr::portable_table = gossamer::csr::kernels;
