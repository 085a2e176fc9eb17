#include "descent.inl"

const gossamer::descent::Table gossamer::descent::neon_table = gossamer::descent::kernels;
