#include "descent.inl"

const gossamer::descent::Table gossamer::descent::avx2_table = gossamer::descent::kernels;
