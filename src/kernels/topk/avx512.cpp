#include "topk.inl"

const gossamer::topk::Table gossamer::topk::avx512_table = gossamer::topk::kernels;
