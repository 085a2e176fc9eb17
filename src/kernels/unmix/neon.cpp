#include "unmix.inl"

const gossamer::unmix::Table gossamer::unmix::neon_table = gossamer::unmix::kernels;
