#include "fisher.inl"

const gossamer::fisher::Table gossamer::fisher::avx2_table = gossamer::fisher::kernels;
