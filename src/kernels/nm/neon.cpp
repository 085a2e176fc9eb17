#include "nm.inl"

const gossamer::nm::Table gossamer::nm::neon_table = gossamer::nm::kernels;
