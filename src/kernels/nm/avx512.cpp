#include "nm.inl"

const gossamer::nm::Table gossamer::nm::avx512_table = gossamer::nm::kernels;
