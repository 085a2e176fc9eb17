#include "gaunt.inl"

const gossamer::gaunt::Table gossamer::gaunt::neon_table = gossamer::gaunt::kernels;
