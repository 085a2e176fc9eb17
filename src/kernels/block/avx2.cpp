#include "block.inl"

const gossamer::block::Table gossamer::block::avx2_table = gossamer::block::kernels;
