#include "inverted.inl"

const gossamer::inverted::Table gossamer::inverted::neon_table = gossamer::inverted::kernels;
