#include "elliptic.inl"

const gossamer::elliptic::Table gossamer::elliptic::avx512_table = gossamer::elliptic::kernels;
