#include "contrast.inl"

const gossamer::contrast::Table gossamer::contrast::avx512_table = gossamer::contrast::kernels;
