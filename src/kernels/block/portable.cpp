#include "block.inl"

const gossamer::block::Table gossamer::block::portable_table = gossamer::block::kernels;
