#include "nm.inl"

const gossamer::nm::Table gossamer::nm::avx2_table = gossamer::nm::kernels;
