#include "encoder.inl"

const gossamer::encoder::Table gossamer::encoder::neon_table = gossamer::encoder::kernels;
