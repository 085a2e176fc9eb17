#include "topk.inl"

const gossamer::topk::Table gossamer::topk::portable_table = gossamer::topk::kernels;
