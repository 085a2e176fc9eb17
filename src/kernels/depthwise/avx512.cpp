#include "depthwise.inl"

const gossamer::depthwise::Table gossamer::depthwise::avx512_table = gossamer::depthwise::kernels;
