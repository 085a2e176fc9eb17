#include "contrast.inl"

const gossamer::contrast::Table gossamer::contrast::neon_table = gossamer::contrast::kernels;
