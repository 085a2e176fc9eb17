#include "depthwise.inl"

const gossamer::depthwise::Table gossamer::depthwise::portable_table = gossamer::depthwise::kernels;
