#include "block.inl"

const gossamer::block::Table gossamer::block::neon_table = gossamer::block::kernels;
