#include "gaunt.inl"

const gossamer::gaunt::Table gossamer::gaunt::avx2_table = gossamer::gaunt::kernels;
