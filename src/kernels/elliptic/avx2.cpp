#include "elliptic.inl"

const gossamer::elliptic::Table gossamer::elliptic::avx2_table = gossamer::elliptic::kernels;
