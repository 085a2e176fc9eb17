#include "topk.inl"

const gossamer::topk::Table gossamer::topk::neon_table = gossamer::topk::kernels;
