#include "monarch.inl"

const gossamer::monarch::Table gossamer::monarch::neon_table = gossamer::monarch::kernels;
