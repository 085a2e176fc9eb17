#include "coding.inl"

const gossamer::coding::Table gossamer::coding::avx512_table = gossamer::coding::kernels;
