#include "block.inl"

const gossamer::block::Table gossamer::block::avx512_table = gossamer::block::kernels;
