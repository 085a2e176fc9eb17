#include "fisher.inl"

const gossamer::fisher::Table gossamer::fisher::neon_table = gossamer::fisher::kernels;
