#include "inverted.inl"

const gossamer::inverted::Table gossamer::inverted::avx512_table = gossamer::inverted::kernels;
