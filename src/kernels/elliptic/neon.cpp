#include "elliptic.inl"

const gossamer::elliptic::Table gossamer::elliptic::neon_table = gossamer::elliptic::kernels;
