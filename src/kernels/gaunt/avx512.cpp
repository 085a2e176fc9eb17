#include "gaunt.inl"

const gossamer::gaunt::Table gossamer::gaunt::avx512_table = gossamer::gaunt::kernels;
