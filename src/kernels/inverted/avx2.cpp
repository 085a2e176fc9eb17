#include "inverted.inl"

const gossamer::inverted::Table gossamer::inverted::avx2_table = gossamer::inverted::kernels;
