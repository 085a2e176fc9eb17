#include "descent.inl"

const gossamer::descent::Table gossamer::descent::avx512_table = gossamer::descent::kernels;
