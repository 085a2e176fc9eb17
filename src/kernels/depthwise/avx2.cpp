#include "depthwise.inl"

const gossamer::depthwise::Table gossamer::depthwise::avx2_table = gossamer::depthwise::kernels;
