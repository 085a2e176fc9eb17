#include "fisher.inl"

const gossamer::fisher::Table gossamer::fisher::avx512_table = gossamer::fisher::kernels;
