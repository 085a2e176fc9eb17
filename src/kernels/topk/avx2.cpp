#include "topk.inl"

const gossamer::topk::Table gossamer::topk::avx2_table = gossamer::topk::kernels;
