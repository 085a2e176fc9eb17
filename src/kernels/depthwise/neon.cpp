#include "depthwise.inl"

const gossamer::depthwise::Table gossamer::depthwise::neon_table = gossamer::depthwise::kernels;
