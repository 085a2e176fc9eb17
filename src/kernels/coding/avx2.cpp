#include "coding.inl"

const gossamer::coding::Table gossamer::coding::avx2_table = gossamer::coding::kernels;
