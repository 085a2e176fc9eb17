#include "coding.inl"

const gossamer::coding::Table gossamer::coding::neon_table = gossamer::coding::kernels;
