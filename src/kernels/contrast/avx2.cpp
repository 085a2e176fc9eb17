#include "contrast.inl"

const gossamer::contrast::Table gossamer::contrast::avx2_table = gossamer::contrast::kernels;
